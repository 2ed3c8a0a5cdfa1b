"""What a scenario is, and what it is given to play with."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from llmjobs_chaos.cluster import Cluster
from llmjobs_chaos.invariants import check
from llmjobs_chaos.ledger import Ledger
from llmjobs_chaos.recount import recount, wait_all_ended
from llmjobs_chaos.results import Outcome


@dataclass(frozen=True, slots=True)
class Stage:
    """Where one scenario plays."""

    folder: Path
    """Its own: logs, journals and Redis' data stay there for whoever looks into a failure."""
    seed: int
    is_short: bool
    """Small sizes, for CI."""
    say: Callable[[str], None]

    def size(self, full: int, short: int) -> int:
        """Return how much of something this run takes."""
        return short if self.is_short else full

    def dice(self, what: str) -> random.Random:
        """Return the dice for *what*: the same throws for the same seed."""
        return random.Random(f"{self.seed}/{what}")

    async def settle(
        self, cluster: Cluster, ledger: Ledger, *, timeout_s: float = 90.0, is_emptied: bool = False
    ) -> list[str]:
        """Wait until every job has ended; returns the invariants that do not hold then."""
        took_s = await wait_all_ended(cluster, ledger, timeout_s=timeout_s)
        self.say(f"all {len(ledger.accepted)} jobs ended {took_s:.1f} s after the last fault")
        violations = check(ledger, await recount(cluster, ledger, is_emptied=is_emptied))
        for sentence in violations:
            self.say(f"VIOLATION: {sentence}")
        return violations


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the report."""

    name: str
    """A short word, for ``--only``."""
    title: str
    """What is done, and to what."""
    play: Callable[[Stage], Awaitable[Outcome]]
