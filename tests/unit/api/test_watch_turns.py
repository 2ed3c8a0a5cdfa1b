"""Watchers take turns at reading the store, and their connections live on while they wait."""

import asyncio

from llmjobs_api.hub import REPLAYS_MAX, Hub
from llmjobs_api.watch import RETRY_S, End, follow_job, wait_for_end
from llmjobs_core.errors import StoreUnavailable
from llmjobs_core.events import EventType, JobEvent
from llmjobs_core.jobs import JobRecord
from llmjobs_core.states import JobState
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


class FaultyStore(SlowStore):
    """Loses its connection once, then has the job's end."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched = asyncio.Event()
        self._answers: list[JobRecord | None] = [
            make_record(id="job-1"),
            None,
            make_record(id="job-1", state=JobState.SUCCEEDED),
        ]

    async def fetch(self, job_id: str) -> JobRecord:
        answer = self._answers.pop(0)
        self.fetched.set()
        if answer is None:
            raise StoreUnavailable("away")
        return answer


async def test_an_outage_while_somebody_waits_for_an_end_is_no_news() -> None:
    store, hub = FaultyStore(), build_hub()
    waiting = asyncio.create_task(wait_for_end(store, hub, "job-1", timeout_s=10))
    await store.fetched.wait()
    await asyncio.sleep(0)
    for watcher in hub._all_watchers():
        watcher.mark_missed()
    record = await asyncio.wait_for(waiting, 10)
    assert record.state is JobState.SUCCEEDED
