"""Every scenario, in the order they are played and reported."""

from collections.abc import Sequence

from llmjobs_chaos.scenario import Scenario
from llmjobs_chaos.scenarios import (
    drained,
    short_jobs,
    worker_killed,
)

SCENARIOS: Sequence[Scenario] = (
    short_jobs.SCENARIO,
    worker_killed.SCENARIO,
    drained.SCENARIO,
)
