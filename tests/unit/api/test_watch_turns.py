"""Watchers take turns at reading the store, and their connections live on while they wait."""

import asyncio

from llmjobs_api.hub import REPLAYS_MAX, Hub
from llmjobs_api.watch import RETRY_S, End, follow_job
from llmjobs_core.events import EventType, JobEvent
from llmjobs_core.jobs import JobRecord
from llmjobs_testing.records import make_record

WATCHERS = REPLAYS_MAX + 1


class SlowStore:
    """Answers once it is let go."""

    def __init__(self) -> None:
        self.is_answering = asyncio.Event()
        self.reads = 0

    async def fetch(self, job_id: str) -> JobRecord:
        raise NotImplementedError

    async def fetch_events(self, job_id: str, *, after: str, limit: int) -> list[JobEvent]:
        self.reads += 1
        await self.is_answering.wait()
        return [JobEvent("1-0", EventType.DONE, {})]


def build_hub() -> Hub:
    def open_reader() -> None:
        raise NotImplementedError

    return Hub(open_reader)  # type: ignore[arg-type]


async def follow(store: SlowStore, hub: Hub, silences: list[None]) -> list[JobEvent]:
    """Return what a watcher is told to its end; counts what it hears of silence."""
    told: list[JobEvent] = []
    with hub.watch("job-1") as watcher:
        record = make_record()
        async for batch in follow_job(store, watcher, "job-1", record, after="", idle_s=RETRY_S):
            if batch.end is None and not batch.events:
                silences.append(None)
                store.is_answering.set()
            told += [shared.event for shared in batch.events]
            if batch.end is not None:
                assert batch.end is End.DONE
    return told


async def test_who_waits_for_a_turn_is_told_of_the_silence_and_then_of_everything() -> None:
    store, hub, silences = SlowStore(), build_hub(), list[None]()
    async with asyncio.timeout(10):
        told = await asyncio.gather(*(follow(store, hub, silences) for _ in range(WATCHERS)))
    assert silences == [None]
    assert [len(events) for events in told] == [1] * WATCHERS
    assert store.reads == WATCHERS
