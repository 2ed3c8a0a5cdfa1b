"""The chaos suite in its short form: small sizes and a fixed seed, the bounds of the full one."""

from pathlib import Path

import pytest

from llmjobs_chaos.player import Player
from llmjobs_chaos.scenario import Scenario
from llmjobs_chaos.scenarios import SCENARIOS

SEED = 4
IN_SHORT = {"short-jobs", "worker-killed", "cancelled", "batch-worker-killed", "storm"}
"""The widest of them, in about two and a half minutes."""


@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.name in IN_SHORT], ids=lambda s: str(s.name)
)
async def test_every_bound_is_met_and_every_invariant_holds(
    scenario: Scenario, tmp_path: Path
) -> None:
    player = Player(folder=tmp_path, seed=SEED, is_short=True, say=print)
    outcome = (await player.play(scenario)).outcome
    assert list(outcome.violations) == []
    assert [str(figure) for figure in outcome.figures if not figure.is_met] == []
