"""Plays scenarios: a folder for each, one control plane for all that need one."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from llmjobs_chaos.report import Played
from llmjobs_chaos.results import Figure, Outcome
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_dev.binaries import fetch_binaries
from llmjobs_dev.control_plane import ControlPlane


class Player:
    """Holds what a run's scenarios share."""

    def __init__(
        self, *, folder: Path | None, seed: int, is_short: bool, say: Callable[[str], None]
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="llmjobs-chaos-"))
        self._seed = seed
        self._is_short = is_short
        self._say = say
        self._plane: ControlPlane | None = None

    async def __aenter__(self) -> Self:
        """Nothing is started yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the control plane."""
        if self._plane is not None:
            await self._plane.stop()

    async def play(self, scenario: Scenario) -> Played:
        """Play one scenario to its end; one that can't be played to its end has failed."""
        stage = Stage(
            folder=self.folder / scenario.name,
            seed=self._seed,
            is_short=self._is_short,
            say=self._say,
            open_plane=self._open_plane,
        )
        began_s = time.monotonic()
        try:
            outcome = await scenario.play(stage)
        except (AssertionError, TimeoutError, ExceptionGroup) as error:
            reason = f"{type(error).__name__}: {error}"
            self._say(f"VIOLATION: {reason}")
            outcome = Outcome([Figure("not played to its end", 1, at_most=0)], [reason])
        return Played(scenario, outcome, time.monotonic() - began_s)

    async def _open_plane(self) -> ControlPlane:
        if self._plane is None:
            self._say("starting the control plane")
            self._plane = ControlPlane(await fetch_binaries(self._say), self.folder / "plane")
            await self._plane.start()
        return self._plane
