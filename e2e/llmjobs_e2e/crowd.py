"""Many jobs at once, watched from their start: what scenarios strike, and then look at."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmjobs_chaos.ledger import Asked, Ledger
from llmjobs_chaos.load import Clients
from llmjobs_testing.waiting import eventually

END_TIMEOUT_S = 150.0


@dataclass(slots=True)
class Crowd:
    """The clients' account of their jobs."""

    clients: Clients
    ledger: Ledger = field(default_factory=Ledger)
    _watches: list[asyncio.Task[None]] = field(default_factory=list)

    async def submit(self, count: int, *, tokens: int, rate: float) -> list[Asked]:
        """Submit jobs in one request and watch each; returns when all are accepted."""
        asked = [self.ledger.plan((tokens, rate)) for _ in range(count)]
        for start in range(0, count, 100):
            some = asked[start : start + 100]
            await self.clients.submit_many(f"{time.time_ns()}-{some[0].key}", some)
        self._watches += [asyncio.create_task(self.clients.watch(one)) for one in asked]
        return asked

    async def wait_speaking(self, asked: Sequence[Asked], *, timeout_s: float = 60.0) -> None:
        """Return when every one of these jobs has said something more than it has now."""
        before = [len(_text(one)) for one in asked]
        await eventually(
            lambda: all(len(_text(one)) > size for one, size in zip(asked, before, strict=True)),
            what="every job goes on",
            timeout_s=timeout_s,
        )

    async def finish(self) -> None:
        """Wait for every job's end; check that each ended well, once, with its exact text."""
        async with asyncio.timeout(END_TIMEOUT_S):
            await asyncio.gather(*self._watches)
        wrong = [line for one in self.ledger.jobs for line in judge(one)]
        assert not wrong, "\n".join(wrong[:20])

    @property
    def resets(self) -> int:
        """How often a stream had to begin anew."""
        return sum(one.watched.resets for one in self.ledger.jobs if one.watched)


def is_run_by(view: Mapping[str, Any], pod: str) -> bool:
    """Whether a job, as the gateway shows it, runs or ran last on this pod's worker.

    A worker's id is its pod's name and what tells one start of it from the next.
    """
    return str(view.get("worker", "")).rpartition(".")[0] == pod


def judge(asked: Asked) -> list[str]:
    """Return what is wrong with a job that has ended, in words; nothing is."""
    watched, wanted = asked.watched, asked.requests[0]
    if watched is None:
        return [f"{asked.key}: never watched"]
    wrong = []
    if watched.ends != ["Succeeded"]:
        wrong.append(f"{asked.key} {asked.id}: ended {watched.ends}")
    if watched.text != wanted.text:
        at = next(
            (i for i, (a, b) in enumerate(zip(watched.text, wanted.text, strict=False)) if a != b),
            min(len(watched.text), len(wanted.text)),
        )
        wrong.append(
            f"{asked.key} {asked.id}: {len(watched.text)} of {len(wanted.text)} characters, "
            f"wrong from {at}: {watched.text[at : at + 40]!r}"
        )
    return wrong


def _text(asked: Asked) -> str:
    return asked.watched.text if asked.watched else ""
