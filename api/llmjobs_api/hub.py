"""One reader of the store's live events for this process, and everybody who watches a job.

The store pushes: one blocking call brings the events of all jobs, and they are handed to watchers
in memory. A watcher holds a few events at most; one that falls behind, or that may have missed
some while Redis was away, is told so and reads the job's own stream again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import structlog

from llmjobs_api.framing import SharedEvent
from llmjobs_core.errors import RetryableError
from llmjobs_core.events import Delivery

log = structlog.get_logger(__name__)

QUEUE_MAX = 128
"""Events a watcher may be behind before it has to replay (arbitrary; they are shared)."""
REPLAYS_MAX = 16
"""Watchers that read the store at a time, well within its connections: of a thousand, the others
would find none left, and come again half a second later, all together."""
READ_TIMEOUT_S = 20.0
"""Far over the reader's blocking time: a connection this silent is dead."""
BACKOFF_S = (0.1, 0.2, 0.5, 1.0)


class LiveReader(Protocol):
    """What the hub needs of ``ShardReader``."""

    async def start(self) -> None:
        """Note where the streams end."""

    async def read(self) -> Sequence[Delivery]:
        """Wait for events."""


OpenReader = Callable[[], tuple[LiveReader, Callable[[], Awaitable[None]]]]
"""Makes a reader on a connection of its own, and what closes it."""


class Watcher:
    """One who watches one job; used by one task."""

    __slots__ = ("_queue", "_wake", "closed", "missed", "replaying")

    def __init__(self, replaying: asyncio.Semaphore) -> None:
        self.replaying = replaying
        """To be held while the store is read: all watchers may have to read at once."""
        self._queue: deque[SharedEvent] = deque()
        self._wake: asyncio.Future[None] | None = None
        self.missed = False
        """Events may be missing from here: read the job's own stream, after ``clear_missed``."""
        self.closed = False
        """The client has gone, or this process shuts down."""

    def push(self, event: SharedEvent) -> None:
        """Add a live event."""
        if len(self._queue) >= QUEUE_MAX:
            self.mark_missed()
            return
        if not self.missed:
            self._queue.append(event)
            self.wake()

    def mark_missed(self) -> None:
        """Say that events may be missing."""
        self._queue.clear()
        self.missed = True
        self.wake()

    def clear_missed(self) -> None:
        """Start to collect live events; call before reading the job's own stream."""
        self._queue.clear()
        self.missed = False

    def close(self) -> None:
        """Make the waiting task return for good."""
        self.closed = True
        self.wake()

    def wake(self) -> None:
        """Let the waiting task look again."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def take(self) -> list[SharedEvent]:
        """Return and forget the events that came."""
        events = list(self._queue)
        self._queue.clear()
        return events

    async def wait(self, timeout_s: float) -> bool:
        """Return True once there is something to look at, False after *timeout_s* without."""
        if self._queue or self.missed or self.closed:
            return True
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(timeout_s, self.wake)
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None
        return bool(self._queue or self.missed or self.closed)


class Hub:
    """Fans the store's live events out to the watchers of this process."""

    def __init__(self, open_reader: OpenReader) -> None:
        self._open_reader = open_reader
        self._watchers: dict[str, set[Watcher]] = {}
        self._replaying = asyncio.Semaphore(REPLAYS_MAX)
        self.connected = asyncio.Event()
        """Set while live events arrive."""
        self.draining = False
        """Set when this process shuts down."""

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watcher]:
        """Collect the live events of a job while the context is open."""
        watcher = Watcher(self._replaying)
        watcher.closed = self.draining
        self._watchers.setdefault(job_id, set()).add(watcher)
        try:
            yield watcher
        finally:
            watchers = self._watchers[job_id]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[job_id]

    def begin_drain(self) -> None:
        """Let every watcher end, so that clients connect to another gateway."""
        self.draining = True
        for watcher in self._all_watchers():
            watcher.close()

    def _all_watchers(self) -> list[Watcher]:
        return [one for watchers in self._watchers.values() for one in watchers]

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Hand events to those who watch their jobs."""
        for delivery in deliveries:
            watchers = self._watchers.get(delivery.job_id)
            if watchers:
                shared = SharedEvent(delivery.event)
                for watcher in watchers:
                    watcher.push(shared)

    async def run(self) -> None:
        """Read until cancelled; reconnect for as long as the store is away."""
        failures = 0
        while True:
            reader, close = self._open_reader()
            try:
                await reader.start()
                # What was written before this moment and after a watcher's replay was not seen.
                for watcher in self._all_watchers():
                    watcher.mark_missed()
                self.connected.set()
                while True:
                    await self._deliver_next(reader)
                    if failures:
                        log.info("live_events_back", attempts=failures)
                        failures = 0
            except (RetryableError, TimeoutError) as error:
                self.connected.clear()
                if not failures:
                    log.warning("live_events_lost", cause=type(error).__name__)
                delay_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                failures += 1
                await asyncio.sleep(delay_s)
            finally:
                await close()

    async def _deliver_next(self, reader: LiveReader) -> None:
        async with asyncio.timeout(READ_TIMEOUT_S):
            deliveries = await reader.read()
        self.deliver(deliveries)
        # Who was woken sends first; what has come meanwhile is in the streams.
        await asyncio.sleep(0)
