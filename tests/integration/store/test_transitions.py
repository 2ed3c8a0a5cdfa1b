"""The store's steps, one promise each, on a real Valkey."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from llmjobs_core.errors import (
    IdempotencyMismatch,
    InvalidCursor,
    JobNotFound,
    PoolNotFound,
    StateConflict,
)
from llmjobs_core.jobs import BatchLine, JobError, JobKind, Lost, NewJob, ProgressUpdate, Usage
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.pools import Waiting
from llmjobs_core.states import JobClass, JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.audit import PREFIX, Audit
from llmjobs_testing.driver import Driver

POOL = PoolKey("team-a", "small")
USAGE = Usage(1, 1)


@pytest.fixture
async def driver(valkey_url: str) -> AsyncIterator[Driver]:
    found = Driver(valkey_url, POOL)
    await found.publish(slots=4)
    yield found
    await found.close()


@pytest.fixture
def store(driver: Driver) -> JobStore:
    return driver.store


def make_job(number: int = 1, **changes: Any) -> NewJob:
    fields: dict[str, Any] = {
        "id": build_job_id(1_700_000_000_000 + number),
        "pool": POOL,
        "model": "m",
        "body": b'{"model":"m"}',
    }
    return NewJob(**(fields | changes))


async def submit_batch(store: JobStore, count: int, **changes: Any) -> NewJob:
    job = make_job(99, kind=JobKind.BATCH, body=b"", **changes)
    await store.submit(job)
    lines = [BatchLine(f"c{i}", "/v1/completions", b"{}") for i in range(count)]
    await store.append_lines(job.id, 0, lines)
    await store.seal(job.id)
    return job


async def make_due(store: JobStore, *names: str) -> None:
    """Move what is planned to now, and reap."""
    for name in names:
        members: Any = await store.client.zrange(PREFIX + name, 0, -1)
        for member in members:
            await store.client.zadd(PREFIX + name, {member: 1})
    await store.client.delete(f"{PREFIX}reaped", f"{PREFIX}hold")
    await store.reap()


async def test_the_same_key_gives_the_same_job(store: JobStore) -> None:
    first = make_job(1, idempotency_key="k", fingerprint="f")
    again = make_job(2, idempotency_key="k", fingerprint="f")
    assert (await store.submit(first)).created
    answer = await store.submit(again)
    assert (answer.job_id, answer.created) == (first.id, False)


async def test_the_same_key_for_another_request_is_refused(store: JobStore) -> None:
    await store.submit(make_job(1, idempotency_key="k", fingerprint="f"))
    with pytest.raises(IdempotencyMismatch):
        await store.submit(make_job(2, idempotency_key="k", fingerprint="other"))


async def test_a_job_for_an_unknown_pool_is_refused_and_leaves_nothing(store: JobStore) -> None:
    job = replace(make_job(), pool=PoolKey("team-a", "nobody"))
    with pytest.raises(PoolNotFound):
        await store.submit(job)
    with pytest.raises(JobNotFound):
        await store.fetch(job.id)


async def test_only_a_windowful_is_handed_to_celery(store: JobStore, driver: Driver) -> None:
    for number in range(20):
        await store.submit(make_job(number))
    assert await store.client.llen(POOL.queue) == 8  # two times the 4 slots


async def test_a_lost_message_is_found_once_a_later_one_was_claimed(
    store: JobStore, driver: Driver
) -> None:
    for number in range(3):
        await store.submit(make_job(number))
    lost = await driver.take_chunk()

    async def look() -> int:
        seconds, _ = await store.client.time()
        await store.client.zadd(f"{PREFIX}sent", {str(lost): seconds * 1000})
        await store.client.delete(f"{PREFIX}reaped")
        return (await store.reap()).resent

    assert await look() == 0  # it may just wait: the queue is not empty
    await driver.claim_one()
    assert await look() == 1


async def test_reaping_that_is_always_slow_still_finds_the_lost(
    store: JobStore, driver: Driver
) -> None:
    await store.submit(make_job())
    await driver.claim_one()
    reports = []
    for _ in range(4):
        seconds, _ = await store.client.time()
        await store.client.set(f"{PREFIX}reaped", (seconds - 2) * 1000)
        await store.client.delete(f"{PREFIX}hold")  # its 2.5 s have passed
        members: Any = await store.client.zrange(f"{PREFIX}leases", 0, -1)
        await store.client.zadd(f"{PREFIX}leases", dict.fromkeys(members, 1))
        reports.append((await store.reap()).recovered)
    assert reports == [0, 0, 0, 1]


async def test_a_line_that_was_handed_back_is_due_by_any_clock(
    store: JobStore, driver: Driver
) -> None:
    """The clock of a replica that takes over may be behind."""
    job = await submit_batch(store, 2)
    claim = (await driver.claim(2))[0]
    await store.release([(claim.ref, claim.fence)], reason="Drained")
    assert await store.client.zscore(f"{PREFIX}redo:{job.id}", str(claim.ref.line)) == 0


async def test_a_worker_that_comes_back_has_what_it_holds(store: JobStore, driver: Driver) -> None:
    await store.submit(make_job())
    claim = await driver.claim_one()
    await make_due(store, "workers")
    driver.beat(held=(claim,))
    assert [worker.running for worker in await store.list_workers()] == [1]
    await driver.complete(claim)
    assert [worker.running for worker in await store.list_workers()] == [0]


async def test_failing_further_on_each_time_is_not_giving_up(
    store: JobStore, driver: Driver
) -> None:
    job = make_job(backoff_limit=1)
    await store.submit(job)
    for _ in range(4):
        claim = await driver.claim_one()
        await driver.say(claim, "more ")
        await driver.fail(claim, retry_in_ms=0)
        await store.client.delete(f"{PREFIX}reaped")
        await store.reap()
    assert (await store.fetch(job.id)).state is JobState.QUEUED
    await driver.fail(await driver.claim_one(), retry_in_ms=0)
    assert (await store.fetch(job.id)).reason == "BackoffLimitExceeded"


async def test_a_message_behind_one_that_was_looked_at_is_not_lost(
    store: JobStore, driver: Driver
) -> None:
    for number in range(3):
        await store.submit(make_job(number))
    first, second = await driver.take_chunk(), POOL.queue
    seconds, _ = await store.client.time()
    looked: Any = await store.client.zrange(f"{PREFIX}sent", 0, -1)
    await store.client.zadd(f"{PREFIX}sent", dict.fromkeys(looked, seconds * 1000))
    await store.client.delete(f"{PREFIX}reaped")
    assert (await store.reap()).resent == 0
    await store.claim(first, worker="w", token="t", limit=1)
    await store.client.zadd(f"{PREFIX}sent", dict.fromkeys(looked[1:], seconds * 1000))
    await store.client.delete(f"{PREFIX}reaped")
    assert (await store.reap()).resent == 0
    assert await store.client.llen(second) == 2


async def test_a_repeated_claim_call_gives_the_same_fence(store: JobStore, driver: Driver) -> None:
    await store.submit(make_job())
    chunk = await driver.take_chunk()
    first = await store.claim(chunk, worker="w", token="t", limit=1)
    again = await store.claim(chunk, worker="w", token="t", limit=1)
    assert [c.fence for c in first] == [c.fence for c in again]


async def test_a_doubled_message_finds_nothing_to_claim(store: JobStore, driver: Driver) -> None:
    await store.submit(make_job())
    chunk = await driver.take_chunk()
    assert await store.claim(chunk, worker="w", token="a", limit=1)
    assert await store.claim(chunk, worker="w", token="b", limit=1) == ()


async def test_an_old_fence_can_write_nothing(store: JobStore, driver: Driver) -> None:
    await store.submit(make_job())
    old = await driver.claim_one()
    await make_due(store, "leases")
    new = await driver.claim_one()
    assert new.fence > old.fence
    update = ProgressUpdate(ref=old.ref, fence=old.fence, text="late", tokens=1)
    assert [lost.ref for lost in await store.progress([update])] == [old.ref]
    done = await store.complete(old.ref, old.fence, status_code=200, body=b"old", usage=USAGE)
    assert done is False
    assert (await store.fetch(old.ref.job_id)).state is JobState.RUNNING


async def test_a_lost_lease_hands_on_the_checkpoint(store: JobStore, driver: Driver) -> None:
    await store.submit(make_job())
    claim = await driver.claim_one()
    update = ProgressUpdate(
        ref=claim.ref, fence=claim.fence, text="so far", tokens=2, token_ids=(7, 8)
    )
    await store.progress([update])
    await make_due(store, "leases")
    again = await driver.claim_one()
    assert (again.text, again.token_ids, again.tokens) == ("so far", (7, 8), 2)


async def test_progress_without_text_that_is_sent_again_counts_once(
    store: JobStore, driver: Driver
) -> None:
    await store.submit(make_job())
    claim = await driver.claim_one()

    async def think(tokens_at: int) -> tuple[Lost, ...]:
        thought = ProgressUpdate(
            ref=claim.ref, fence=claim.fence, tokens=5, is_partial=True, tokens_at=tokens_at
        )
        return await store.progress([thought])

    assert [await think(0), await think(0), await think(5)] == [(), (), ()]
    assert (await store.fetch(claim.ref.job_id)).tokens == 10
    (behind,) = await think(15)  # the store lost what came before
    assert behind.behind


async def test_a_restart_keeps_count_of_what_it_made_void(store: JobStore, driver: Driver) -> None:
    await store.submit(make_job())
    claim = await driver.claim_one()
    thought = ProgressUpdate(ref=claim.ref, fence=claim.fence, tokens=5, is_partial=True)
    await store.progress([thought])
    await make_due(store, "leases")
    claim = await driver.claim_one()
    assert (claim.tokens, claim.is_partial, claim.regenerated) == (5, True, 0)
    again = ProgressUpdate(ref=claim.ref, fence=claim.fence, reset=True, regenerated=5)
    await store.progress([again])
    await make_due(store, "leases")
    claim = await driver.claim_one()
    assert (claim.tokens, claim.is_partial, claim.regenerated) == (0, False, 5)


async def test_three_lost_leases_are_poison(store: JobStore, driver: Driver) -> None:
    job = make_job()
    await store.submit(job)
    for _ in range(3):
        await driver.claim_one()
        await make_due(store, "leases")
    record = await store.fetch(job.id)
    assert (record.state, record.reason) == (JobState.FAILED, "Poisoned")


async def test_completing_twice_with_ones_own_fence_is_once(
    store: JobStore, driver: Driver
) -> None:
    await store.submit(make_job())
    claim = await driver.claim_one()
    for body in (b"first", b"second"):
        assert await store.complete(claim.ref, claim.fence, status_code=200, body=body, usage=USAGE)
    (result,) = await store.fetch_results(claim.ref.job_id)
    assert result is not None
    assert result.body == b"first"


async def test_the_last_line_of_a_batch_may_be_completed_twice_too(
    store: JobStore, driver: Driver
) -> None:
    await submit_batch(store, 1)
    (claim,) = await driver.claim()
    for _ in range(2):
        assert await store.complete(
            claim.ref, claim.fence, status_code=200, body=b"{}", usage=USAGE
        )


async def test_a_failed_attempt_is_not_said_to_be_complete(store: JobStore, driver: Driver) -> None:
    await submit_batch(store, 2)
    claim, _ = await driver.claim()
    error = JobError("http_400", "no")
    assert await store.fail(claim.ref, claim.fence, error, status_code=400, body=b"{}")
    assert await store.fail(claim.ref, claim.fence, error, status_code=400, body=b"{}")
    assert not await store.complete(
        claim.ref, claim.fence, status_code=200, body=b"{}", usage=USAGE
    )


async def test_a_retry_waits_for_its_time_and_counts_against_the_limit(
    store: JobStore, driver: Driver
) -> None:
    job = make_job(backoff_limit=1)
    await store.submit(job)
    for state in (JobState.QUEUED, JobState.FAILED):
        claim = await driver.claim_one()
        error = JobError("http_503", "busy")
        assert await store.fail(claim.ref, claim.fence, error, retry_in_ms=60_000)
        assert (await store.fetch(job.id)).state is state
        await make_due(store, "later")
    assert (await store.fetch(job.id)).reason == "BackoffLimitExceeded"


async def test_a_batch_line_that_waits_for_its_retry_survives_a_suspension(
    store: JobStore, driver: Driver
) -> None:
    job = await submit_batch(store, 1)
    (claim,) = await driver.claim()
    await store.fail(claim.ref, claim.fence, JobError("http_503", "busy"), retry_in_ms=60_000)
    await store.suspend(job.id)
    await store.resume(job.id)
    Audit(driver.sync, [str(POOL)]).check()
    await make_due(store, "later", f"redo:{job.id}")
    await make_due(store, "later")
    (claim,) = await driver.claim()
    assert await store.complete(claim.ref, claim.fence, status_code=200, body=b"{}", usage=USAGE)
    assert (await store.fetch(job.id)).state is JobState.SUCCEEDED


@pytest.mark.parametrize("stage", ["suspended", "queued", "running", "retrying", "pending"])
async def test_a_cancel_ends_a_job_in_every_state(
    store: JobStore, driver: Driver, stage: str
) -> None:
    job = make_job(
        suspend=stage == "suspended",
        kind=JobKind.BATCH if stage == "pending" else JobKind.REQUEST,
    )
    await store.submit(job)
    if stage in {"running", "retrying"}:
        claim = await driver.claim_one()
        if stage == "retrying":
            error = JobError("http_503", "busy")
            await store.fail(claim.ref, claim.fence, error, retry_in_ms=60_000)
    assert await store.cancel(job.id) is JobState.CANCELLED
    Audit(driver.sync, [str(POOL)]).check()
    with pytest.raises(StateConflict):
        await store.resume(job.id)


async def test_a_job_that_is_not_started_in_time_expires(store: JobStore) -> None:
    job = make_job(queue_deadline_s=5)
    await store.submit(job)
    await make_due(store, "dl")
    record = await store.fetch(job.id)
    assert (record.state, record.reason) == (JobState.EXPIRED, "QueueDeadlineExceeded")


async def test_interactive_overtakes_and_batch_is_not_starved(
    store: JobStore, driver: Driver
) -> None:
    driver.beat(slots=0)
    for number in range(30):
        await store.submit(make_job(number, job_class=JobClass.BATCH, cost=10))
    urgent = make_job(100, job_class=JobClass.INTERACTIVE, cost=10)
    await store.submit(urgent)
    waiting = await store.fetch_waiting(urgent.id)
    assert waiting.position is not None
    assert waiting.position <= 1
    for number in range(200, 300):
        await store.submit(make_job(number, job_class=JobClass.INTERACTIVE, cost=10))
    page = await store.list_jobs("team-a", limit=200)
    batch = [job for job in page.jobs if job.job_class is JobClass.BATCH]
    places = [(await store.fetch_waiting(job.id)).position for job in batch]
    first = [place for place in places if place is not None and place < 60]
    assert first, "100 urgent jobs hold up every batch job"


async def test_a_list_goes_on_where_its_cursor_says(store: JobStore) -> None:
    ids = [make_job(number) for number in range(5)]
    for job in ids:
        await store.submit(replace(job, labels={"team": "x"}))
    seen: list[str] = []
    cursor = None
    while True:
        page = await store.list_jobs("team-a", label=("team", "x"), limit=2, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [job.id for job in reversed(ids)]
    with pytest.raises(InvalidCursor):
        await store.list_jobs("team-a", cursor="nonsense")


async def test_an_ended_job_is_removed_after_its_ttl(store: JobStore, driver: Driver) -> None:
    job = make_job(ttl_s=1)
    await store.submit(job)
    await store.cancel(job.id)
    await make_due(store, "gc")
    with pytest.raises(JobNotFound):
        await store.fetch(job.id)
    Audit(driver.sync, [str(POOL)]).check()


async def test_a_lost_message_is_sent_again(store: JobStore, driver: Driver) -> None:
    await store.submit(make_job())
    await driver.take_chunk()  # lost
    await make_due(store, "sent")
    assert await driver.claim_one()


async def test_without_workers_jobs_go_back_to_the_backlog(store: JobStore, driver: Driver) -> None:
    job = make_job()
    await store.submit(job)
    driver.beat(slots=0)
    await make_due(store, "sent")
    assert (await store.fetch_waiting(job.id)).position == 0


async def test_dead_letters_are_found_by_their_reason_page_by_page(
    store: JobStore, driver: Driver
) -> None:
    dead = []
    for number in range(12):
        job, is_other = make_job(number, backoff_limit=0), number % 3 == 0
        await store.submit(job)
        await driver.fail(await driver.claim_one(), retry_in_ms=0 if is_other else None)
        if not is_other:
            dead.append(job.id)
    page = await store.list_jobs("team-a", state=JobState.FAILED, reason="RequestFailed", limit=3)
    found = [job.id for job in page.jobs]
    while page.next_cursor is not None:
        left = await store.count_jobs(
            "team-a", state=JobState.FAILED, reason="RequestFailed", cursor=page.next_cursor
        )
        assert left == len(dead) - len(found)
        page = await store.list_jobs(
            None, state=JobState.FAILED, reason="RequestFailed", limit=3, cursor=page.next_cursor
        )
        assert page.jobs, "a page of the reason's index holds nothing else"
        found += [job.id for job in page.jobs]
    assert found == dead[::-1]
    Audit(driver.sync, [str(POOL)]).check()


async def test_a_removed_dead_letter_leaves_no_index_behind(
    store: JobStore, driver: Driver
) -> None:
    job = make_job()
    await store.submit(job)
    await driver.fail(await driver.claim_one())
    await store.remove(job.id)
    assert not list(driver.sync.scan_iter(f"{PREFIX}ix:*"))


async def test_the_input_of_an_llmjob_is_waited_for_without_end(store: JobStore) -> None:
    """It is in the LLMJob, and the operator that brings it may be away for long."""
    owned = make_job(1, kind=JobKind.BATCH, body=b"", owner="uid", resource="a")
    upload = make_job(2, kind=JobKind.BATCH, body=b"")
    for job in (owned, upload):
        await store.submit(job)
        await store.append_lines(job.id, 0, [BatchLine("c", "/v1/completions", b"{}")])
    due: Any = await store.client.zrange(f"{PREFIX}dl", 0, -1)
    assert due == [upload.id.encode()]


async def test_a_batch_ahead_counts_with_its_fair_share(store: JobStore, driver: Driver) -> None:
    driver.beat(slots=0)
    long = await submit_batch(store, 1000, job_class=JobClass.BATCH)
    behind = make_job(100, job_class=JobClass.BATCH)
    await store.submit(behind)
    assert await store.fetch_waiting(long.id) == Waiting(position=0, cost_ahead=0)
    # Its first line, and one more for its turn at the job's own tag.
    assert await store.fetch_waiting(behind.id) == Waiting(position=1, cost_ahead=2)


async def test_far_back_in_line_the_cost_ahead_is_that_of_the_mean(
    store: JobStore, driver: Driver
) -> None:
    driver.beat(slots=0)
    jobs = [make_job(number, cost=1 + number % 3) for number in range(300)]
    for job in jobs:
        await store.submit(job)
    near = await store.fetch_waiting(jobs[30].id)
    assert near == Waiting(position=30, cost_ahead=60)
    far = await store.fetch_waiting(jobs[270].id)
    assert far == Waiting(position=270, cost_ahead=540)
