"""Following one job: first what was, then what comes, each event once and in order.

The watcher is registered before the job's own stream is read, and the ids are the same in both,
so the seam loses and repeats nothing. Whoever falls behind goes through the same door again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeVar

from llmjobs_api.framing import SharedEvent, build_id_before, parse_event_id
from llmjobs_api.hub import Hub, Watcher
from llmjobs_core.errors import JobNotFound, StoreUnavailable
from llmjobs_core.events import EventType, JobEvent
from llmjobs_core.jobs import JobRecord

T = TypeVar("T")

REPLAY_PAGE = 200
"""Events read at once, so that a slow client's replay stays small (arbitrary)."""
RETRY_S = 0.5
RESET_ID = "0-1"
"""Of a reset that is in no stream: who goes on after it is told everything."""


class End(Enum):
    """Why there is nothing more to come."""

    DONE = auto()
    """The job has ended, and all of it was told."""
    CLOSED = auto()
    """The client went, or this process shuts down; connecting again goes on."""
    GONE = auto()
    """The job is not there any more: removed, or its store was emptied."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some events of a job."""

    events: list[SharedEvent]
    """Empty after a while of silence."""
    end: End | None = None


class WatchedStore(Protocol):
    """What following needs of the store."""

    async def fetch(self, job_id: str) -> JobRecord:
        """Return the record."""

    async def fetch_events(self, job_id: str, *, after: str, limit: int) -> list[JobEvent]:
        """Return events of the job's own stream."""


async def follow_job(
    store: WatchedStore,
    watcher: Watcher,
    job_id: str,
    record: JobRecord | None,
    *,
    after: str,
    idle_s: float,
) -> AsyncIterator[Batch]:
    """Yield the job's events after the id *after*, live, until one batch says the end.

    An empty batch comes after *idle_s* of silence, and then the store is asked whether the job is
    still there. *record* was read before *watcher* was registered; None says that the job itself
    is younger than the watcher, which so has missed nothing. The watcher is used by nobody else.
    While the store is away this waits for it and raises nothing of it. Where the store lost what
    was told (emptied, or a server that lost its last second), a ``reset`` event voids it.
    """
    follower = _Follower(store, watcher, job_id, record, after, idle_s)
    while True:
        batch = await follower.step()
        if batch is not None:
            yield batch
            if batch.end is not None:
                return


class _Follower:
    """Where one watcher is in a job's events, and how it gets on."""

    __slots__ = (
        "_idle_s",
        "_job_id",
        "_last",
        "_order",
        "_record",
        "_replaying",
        "_silent_s",
        "_store",
        "_watcher",
    )

    def __init__(
        self,
        store: WatchedStore,
        watcher: Watcher,
        job_id: str,
        record: JobRecord | None,
        after: str,
        idle_s: float,
    ) -> None:
        self._store = store
        self._watcher = watcher
        self._job_id = job_id
        self._record = record
        self._last = after
        self._order = parse_event_id(after) if after else (0, 0)
        self._idle_s = idle_s
        self._silent_s = 0.0
        self._replaying = record is not None

    async def step(self) -> Batch | None:
        """Get on a little; None when that brought nothing to tell."""
        if self._watcher.closed:
            return Batch([], End.CLOSED)
        if self._watcher.missed:
            self._watcher.clear_missed()
            self._replaying = True
        if self._replaying:
            return await self._replay()
        if not await self._watcher.wait(self._idle_s):
            self._replaying = True
            return Batch([])
        events = self._watcher.take()
        if self._last and any(one.event.type is EventType.STATE for one in events):
            # Rare, and how a job that was given again to an emptied store begins: look at whether
            # what was told is still there.
            self._replaying = True
            return None
        return self._pass_on(events)

    async def _replay(self) -> Batch | None:
        try:
            found = await self._fetch_page()
        except JobNotFound:
            return Batch([], End.GONE)
        except StoreUnavailable:
            await asyncio.sleep(RETRY_S)
            found = None
        if found is None:
            return self._note_silence()
        record, page = found
        self._silent_s = 0.0
        self._record = record
        if self._last and not (page and page[0].id == self._last):
            return self._begin_anew()
        if len(page) == REPLAY_PAGE:
            return self._pass_on([SharedEvent(event) for event in page])
        self._replaying, self._record = False, None
        batch = self._pass_on([SharedEvent(event) for event in page])
        if record.state.is_terminal:
            return Batch(batch.events if batch else [], End.DONE)
        return batch

    def _begin_anew(self) -> Batch:
        """What was told last is not there any more: the store lost it, so all that is there counts.

        An emptied store may have been given the job again, or a server lost its last second.
        """
        reset = SharedEvent(JobEvent(RESET_ID, EventType.RESET, {}))
        self._last, self._order = "", reset.order
        return Batch([reset])

    async def _fetch_page(self) -> tuple[JobRecord, list[JobEvent]] | None:
        """Return the job and its next events; None after RETRY_S if others are still reading."""
        turns = self._watcher.replaying
        try:
            async with asyncio.timeout(RETRY_S):
                await turns.acquire()
        except TimeoutError:
            return None
        try:
            # Read before the events: if it says that the job has ended, so do they.
            record = self._record or await self._store.fetch(self._job_id)
            after = build_id_before(self._order) if self._last else ""
            return record, await self._store.fetch_events(
                self._job_id, after=after, limit=REPLAY_PAGE
            )
        finally:
            turns.release()

    def _note_silence(self) -> Batch | None:
        """Count RETRY_S without a word; says something in time to keep the connection alive."""
        self._silent_s += RETRY_S
        if self._silent_s < self._idle_s:
            return None
        self._silent_s = 0.0
        return Batch([])

    def _pass_on(self, events: list[SharedEvent]) -> Batch | None:
        """Return those that were not passed on before, of the kinds that this version knows."""
        fresh = [event for event in events if event.order > self._order]
        if not fresh:
            return None
        self._last, self._order = fresh[-1].event.id, fresh[-1].order
        known = [one for one in fresh if one.event.type is not EventType.OTHER]
        if not known:
            return Batch([])  # the time without a word begins again, so a word is due
        return Batch(known, End.DONE if known[-1].is_last else None)


async def wait_for_end(
    store: WatchedStore, hub: Hub, job_id: str, *, timeout_s: float
) -> JobRecord:
    """Return the job's record once it has ended, or as it is after *timeout_s*.

    Raises JobNotFound, and StoreUnavailable where the store can't be asked at the beginning. Later
    that is only no news: whoever waits has a job that was accepted.
    """
    deadline_s = time.monotonic() + timeout_s
    with hub.watch(job_id) as watcher:
        record = await store.fetch(job_id)
        while not (record.state.is_terminal or watcher.closed):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not await watcher.wait(left_s):
                break
            if watcher.missed or any(event.is_last for event in watcher.take()):
                watcher.clear_missed()
                record = await _look_again(store, watcher, record)
        return record if record.state.is_terminal else await _look_again(store, watcher, record)


async def _look_again(store: WatchedStore, watcher: Watcher, record: JobRecord) -> JobRecord:
    """Return the record as it is now, or as it was while the store can't be asked."""
    try:
        async with watcher.replaying:
            return await store.fetch(record.id)
    except StoreUnavailable:
        watcher.mark_missed()
        await asyncio.sleep(RETRY_S)
        return record


async def wait_for_change(
    hub: Hub, job_id: str, look: Callable[[], Awaitable[tuple[T, bool]]], *, timeout_s: float
) -> T:
    """Return what *look* gives once it says it is news, or what it gives after *timeout_s*."""
    deadline_s = time.monotonic() + timeout_s
    with hub.watch(job_id) as watcher:
        while True:
            async with watcher.replaying:
                found, is_news = await look()
            left_s = deadline_s - time.monotonic()
            if is_news or watcher.closed or left_s <= 0:
                return found
            await watcher.wait(left_s)
            watcher.clear_missed()
