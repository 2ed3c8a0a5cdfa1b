"""One Celery message: claim its requests as places come free, and run them all to their end."""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from llmjobs_core.errors import LLMJobsError
from llmjobs_core.jobs import Claim
from llmjobs_core.names import ChunkRef
from llmjobs_core.store import JobStore
from llmjobs_worker.intake import Intake
from llmjobs_worker.persist import persist
from llmjobs_worker.run_unit import UnitRunner
from llmjobs_worker.stay import Stay

_CLAIM_LIMIT_S = 10.0
"""How long a claim is tried while the store is away; its message is sent again anyway."""

_BATCHES = 16
"""Batches that are remembered: of their next chunks as many lines are claimed as have places."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ChunkRunner:
    """Runs chunks, side by side, within the worker's slots."""

    store: JobStore
    intake: Intake
    runner: UnitRunner
    worker: str
    """This process's name in leases and status."""
    active: int = field(default=0, init=False)
    """Chunks that run now, waiting ones included."""
    started: int = field(default=0, init=False)
    """Chunks that have begun so far."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _batches: deque[str] = field(default_factory=lambda: deque(maxlen=_BATCHES), init=False)
    """Jobs that were found to be batches, of late."""

    def start(self, chunk: ChunkRef, on_ended: Callable[[BaseException | None], None]) -> None:
        """Begin with *chunk*; *on_ended* is told when it has ended, and of a bug that ended it."""
        task = asyncio.create_task(self._run(chunk))
        self._tasks.add(task)

        def tell(_: object) -> None:
            self._tasks.discard(task)
            on_ended(None if task.cancelled() else task.exception())

        task.add_done_callback(tell)

    async def _run(self, chunk: ChunkRef) -> None:
        self.active += 1
        self.started += 1
        tasks: set[asyncio.Task[None]] = set()
        try:
            await self._claim_all(chunk, tasks)
            if not self.intake.is_open:
                await self.store.hand_on(chunk)
        except LLMJobsError as error:
            # Its message is sent again after a while: the record is the truth.
            _log.warning("claim_failed", chunk=str(chunk), error=str(error))
        finally:
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            self.active -= 1
        for result in ended:
            if isinstance(result, Exception):
                # Not handled where it belongs: a bug. Its lease ends and the reaper decides.
                _log.error("request_crashed", chunk=str(chunk), exc_info=result)

    async def _claim_all(self, chunk: ChunkRef, tasks: set[asyncio.Task[None]]) -> None:
        places = self.intake.places
        is_batch = chunk.job_id in self._batches
        while self.intake.is_open:
            self.intake.waiting += 1
            try:
                await places.acquire()
            finally:
                self.intake.waiting -= 1
            # Most messages hold one request; the other places are others' meanwhile.
            taken = 1 + (places.take_free() if is_batch else 0)
            claims: tuple[Claim, ...] = ()
            leased_s = time.monotonic()
            try:
                if self.intake.is_open:
                    claims = await self._claim(chunk, taken)
            finally:
                places.release(taken - len(claims))
            for claim in claims:
                tasks.add(asyncio.create_task(self._run_unit(claim, leased_s)))
            if not claims or claims[0].ref.line is None:
                return
            if not is_batch:
                is_batch = True
                self._batches.append(chunk.job_id)
            if len(claims) < taken:
                return  # it has no more

    async def _claim(self, chunk: ChunkRef, limit: int) -> tuple[Claim, ...]:
        token = uuid.uuid4().hex  # the same over all tries: a repeated call gives the same claims
        return await persist(
            lambda: self.store.claim(chunk, worker=self.worker, token=token, limit=limit),
            step="claim",
            limit_s=_CLAIM_LIMIT_S,
        )

    async def _run_unit(self, claim: Claim, leased_s: float) -> None:
        stay = Stay(self.intake)
        try:
            await self.runner.run(claim, leased_s, stay)
        finally:
            stay.leave()
