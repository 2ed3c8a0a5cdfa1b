"""What a row of the table is, and what it is given to measure with."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from llmjobs_bench.figures import Figure

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stage:
    """Where one row is measured."""

    folder: Path
    """Its own: logs and Redis' data stay there for whoever looks into a failure."""
    runs: int
    """How often each thing is measured; 5 or more for figures that count."""
    is_quick: bool
    """Small sizes, to see that it works: its figures say nothing."""
    say: Callable[[str], None]

    def size(self, full: int, quick: int) -> int:
        """Return how much of something this run takes."""
        return quick if self.is_quick else full

    async def alternate(
        self, contenders: Mapping[str, Callable[[], Awaitable[T]]]
    ) -> dict[str, list[T]]:
        """Measure each of *contenders* once a run, one after the other, and again.

        So what changes on the machine meanwhile meets all of them. Every second run goes
        backwards. Returns each one's measurements, run by run.
        """
        taken: dict[str, list[T]] = {name: [] for name in contenders}
        for run in range(self.runs):
            names = list(contenders)[:: 1 if run % 2 == 0 else -1]
            for name in names:
                taken[name].append(await contenders[name]())
        return taken


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    name: str
    """A short word, for ``--only``."""
    title: str
    """What is done, to what, against what."""
    measure: Callable[[Stage], Awaitable[Sequence[Figure]]]
    """Raises SelfCheckFailed where the work was not done right."""
    runs_min: int = 1
    """More than the usual runs where single ones differ by more than the bound is about."""
