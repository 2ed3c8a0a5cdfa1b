"""Plays scenarios, each in a folder of its own, and takes what breaks them for a failure."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from llmjobs_chaos.report import Played
from llmjobs_chaos.results import Figure, Outcome
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_dev.process import ProcessFailedError


class Player:
    """Plays the scenarios of one run."""

    def __init__(
        self, *, folder: Path | None, seed: int, is_short: bool, say: Callable[[str], None]
    ) -> None:
        """Logs, journals and data go into *folder*; a new one if None."""
        self.folder = folder or Path(tempfile.mkdtemp(prefix="llmjobs-chaos-"))
        self._seed = seed
        self._is_short = is_short
        self._say = say

    async def play(self, scenario: Scenario) -> Played:
        """Play one scenario to its end; one that can't be played to its end has failed."""
        stage = Stage(self.folder / scenario.name, self._seed, self._is_short, self._say)
        began_s = time.monotonic()
        try:
            outcome = await scenario.play(stage)
        except (AssertionError, TimeoutError, ProcessFailedError, ExceptionGroup) as error:
            reason = _explain(error)
            self._say(f"VIOLATION: {reason}")
            outcome = Outcome([Figure("not played to its end", 1, at_most=0)], [reason])
        return Played(scenario, outcome, time.monotonic() - began_s)


def _explain(error: BaseException) -> str:
    """Return what went wrong in a line, down to the first causes in a group."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_explain(one) for one in error.exceptions)
    return f"{type(error).__name__}: {error}"
