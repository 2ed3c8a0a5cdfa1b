"""Writes the progress of all requests to the store: one call a tick, whatever their number."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from llmjobs_core.errors import RetryableError
from llmjobs_core.names import UnitRef
from llmjobs_core.store import JobStore
from llmjobs_worker.checkpoint import Checkpoint
from llmjobs_worker.held import Loss, build_losses
from llmjobs_worker.metrics import WorkerMetrics
from llmjobs_worker.pace import TICK_S

_RETRY_S = 0.25

_log = structlog.get_logger(__name__)


class Publisher:
    """The only writer of progress; in the loop's thread."""

    def __init__(
        self,
        store: JobStore,
        metrics: WorkerMetrics,
        on_losses: Callable[[Sequence[Loss]], None],
        *,
        tick_s: float = TICK_S,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._on_losses = on_losses
        self._tick_s = tick_s
        self._dirty: dict[UnitRef, Checkpoint] = {}
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()

    def notify(self, checkpoint: Checkpoint) -> None:
        """Say that *checkpoint* has something new."""
        self._dirty[checkpoint.ref] = checkpoint
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled; the first new text goes at once, more at the next tick."""
        while True:
            await self._wake.wait()
            # An answer that ends in the read that it began in goes to the store with its end alone.
            await asyncio.sleep(0)
            self._wake.clear()
            is_written = await self._write_all()
            await asyncio.sleep(self._tick_s if is_written else _RETRY_S)

    async def detach(self, checkpoint: Checkpoint) -> None:
        """Stop writing *checkpoint*; when this returns, no call about it is on its way."""
        async with self._writing:
            if self._dirty.get(checkpoint.ref) is checkpoint:
                del self._dirty[checkpoint.ref]

    async def _write_all(self) -> bool:
        async with self._writing:
            checkpoints, self._dirty = self._dirty, {}
            sent = [(c, u) for c in checkpoints.values() if (u := c.build_update()) is not None]
            try:
                with self._metrics.progress_write.time():
                    lost = await self._store.progress([update for _, update in sent])
            except RetryableError as error:
                _log.warning("progress_not_written", error=str(error), requests=len(sent))
                for checkpoint, _ in sent:
                    self._dirty.setdefault(checkpoint.ref, checkpoint)
                self._wake.set()
                return False
            behind = {item.ref for item in lost if item.behind}
            for checkpoint, update in sent:
                if behind and checkpoint.ref in behind:
                    checkpoint.rewind()
                else:
                    checkpoint.confirm(update)
                if not checkpoint.is_written and checkpoint.ref not in self._dirty:
                    self.notify(checkpoint)
        if lost and (losses := build_losses(lost, {c.ref: c.fence for c, _ in sent})):
            self._on_losses(losses)
        return True
