"""Every scenario, in the order they are played and reported."""

from collections.abc import Sequence

from llmjobs_chaos.scenario import Scenario
from llmjobs_chaos.scenarios import (
    batches,
    cancelled,
    drained,
    emptied,
    frozen,
    nearly_done,
    saturated,
    short_jobs,
    storm,
    worker_killed,
)

SCENARIOS: Sequence[Scenario] = (
    short_jobs.SCENARIO,
    worker_killed.SCENARIO,
    saturated.SCENARIO,
    frozen.SCENARIO,
    nearly_done.SCENARIO,
    drained.SCENARIO,
    cancelled.SCENARIO,
    *batches.SCENARIOS,
    emptied.SCENARIO,
    storm.SCENARIO,
)
