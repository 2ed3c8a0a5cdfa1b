"""Of the requests that a worker or engine took with it, only the one to blame ends as poison."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmjobs_core.jobs import BatchLine, Claim, JobKind, NewJob, ProgressUpdate
from llmjobs_core.names import ChunkRef, PoolKey, build_job_id
from llmjobs_core.states import JobReason, JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.audit import PREFIX, Audit
from llmjobs_testing.driver import Driver

POOL = PoolKey("team-a", "small")


@pytest.fixture
async def driver(valkey_url: str) -> AsyncIterator[Driver]:
    found = Driver(valkey_url, POOL)
    await found.publish(slots=8)
    yield found
    Audit(found.sync, [str(POOL)]).check()
    await found.close()


@pytest.fixture
def store(driver: Driver) -> JobStore:
    return driver.store


async def submit(store: JobStore, number: int = 1) -> str:
    job_id = build_job_id(1_700_000_000_000 + number)
    await store.submit(NewJob(id=job_id, pool=POOL, model="m", body=b'{"model":"m"}'))
    return job_id


async def make_due(driver: Driver, name: str) -> None:
    """Move what is planned to now, and reap."""
    members: Any = await driver.store.client.zrange(f"{PREFIX}{name}", 0, -1)
    for member in members:
        await driver.store.client.zadd(f"{PREFIX}{name}", {member: 1})
    await driver.store.client.delete(f"{PREFIX}reaped", f"{PREFIX}hold")
    await driver.store.reap()


async def lose_all_leases(driver: Driver) -> None:
    """Let every running request's worker be gone."""
    await make_due(driver, "leases")


async def claim_lines(driver: Driver, count: int) -> list[Claim]:
    """Claim *count* lines, by as many messages as it takes."""
    claims: list[Claim] = []
    while len(claims) < count:
        await make_due(driver, "sent")
        claims += await driver.claim(count - len(claims))
    return claims


async def restart(store: JobStore, claim: Claim) -> None:
    """Void the text so far, as a worker does that can't continue it."""
    assert not await store.progress([ProgressUpdate(ref=claim.ref, fence=claim.fence, reset=True)])


async def test_three_losses_in_a_row_are_poison_with_the_evidence(
    store: JobStore, driver: Driver
) -> None:
    job_id = await submit(store)
    await driver.say(await driver.claim_one(), "one two")
    await lose_all_leases(driver)
    claim = await driver.claim_one()
    assert await store.lose(claim.ref, claim.fence)
    await driver.claim_one()
    await lose_all_leases(driver)
    record = await store.fetch(job_id)
    assert (record.state, record.reason) == (JobState.FAILED, JobReason.POISONED)
    assert record.error is not None
    assert record.error.code == "lease_lost"
    assert record.message == (
        "it lost its worker or engine 3 times in a row without a new token; last: "
        f"worker {driver.worker} was gone at token 2; "
        f"the engine of worker {driver.worker} was gone at token 2; "
        f"worker {driver.worker} was gone at token 2"
    )
    (result,) = await store.fetch_results(job_id)
    assert result is not None
    assert b'"code":"lease_lost"' in result.body


async def test_a_request_that_gets_on_is_not_poison(store: JobStore, driver: Driver) -> None:
    job_id = await submit(store)
    for _ in range(6):
        await driver.say(await driver.claim_one(), "more ")
        await lose_all_leases(driver)
    await driver.answer("end")
    assert (await store.fetch(job_id)).state is JobState.SUCCEEDED


async def test_repeating_a_text_is_not_getting_on(store: JobStore, driver: Driver) -> None:
    job_id = await submit(store)
    for attempt in range(3):
        claim = await driver.claim_one()
        if attempt:
            await restart(store, claim)
            driver.forget_sent(claim)
        await driver.say(claim, "as far as ever")
        await lose_all_leases(driver)
    assert (await store.fetch(job_id)).reason == JobReason.POISONED


async def test_ten_losses_are_poison_even_with_new_tokens(store: JobStore, driver: Driver) -> None:
    job_id = await submit(store)
    for _ in range(10):
        await driver.say(await driver.claim_one(), "more ")
        await lose_all_leases(driver)
    record = await store.fetch(job_id)
    assert record.reason == JobReason.POISONED
    assert "10 times in all" in record.message


async def bring_to_brink(store: JobStore, driver: Driver, count: int) -> list[ChunkRef]:
    """Submit *count* jobs that lost two workers in a row together; returns their messages."""
    for number in range(count):
        await submit(store, number)
    for _ in range(2):
        for _ in range(count):
            await driver.claim_one()
        await lose_all_leases(driver)
    return [await driver.take_chunk() for _ in range(count)]


async def test_a_worker_runs_one_request_on_the_brink_at_a_time(
    store: JobStore, driver: Driver
) -> None:
    first, second = await bring_to_brink(store, driver, 2)
    assert await store.claim(first, worker="a", token="a1", limit=1)
    assert await store.claim(second, worker="a", token="a2", limit=1) == ()
    assert await store.claim(second, worker="b", token="b1", limit=1)


async def test_its_neighbour_is_not_convicted_with_it(store: JobStore, driver: Driver) -> None:
    first, second = await bring_to_brink(store, driver, 2)
    await store.claim(first, worker="a", token="a1", limit=1)
    await store.claim(second, worker="a", token="a2", limit=1)
    await lose_all_leases(driver)
    assert (await store.fetch(first.job_id)).reason == JobReason.POISONED
    await make_due(driver, "sent")
    await driver.complete(await driver.claim_one())
    assert (await store.fetch(second.job_id)).state is JobState.SUCCEEDED


async def test_a_token_lets_the_next_one_on_the_brink_run(store: JobStore, driver: Driver) -> None:
    first, second = await bring_to_brink(store, driver, 2)
    (claim,) = await store.claim(first, worker="a", token="a1", limit=1)
    await driver.say(claim, "a token")
    assert await store.claim(second, worker="a", token="a2", limit=1)


async def test_a_held_off_request_is_sent_again_soon(store: JobStore, driver: Driver) -> None:
    first, second = await bring_to_brink(store, driver, 2)
    (claim,) = await store.claim(first, worker="a", token="a1", limit=1)
    await store.claim(second, worker="a", token="a2", limit=1)
    due: Any = await store.client.zscore(f"{PREFIX}sent", str(second))
    seconds, _ = await store.client.time()
    assert due / 1000 - seconds < 2
    await driver.complete(claim)


async def test_lines_on_the_brink_hold_up_no_other_line(store: JobStore, driver: Driver) -> None:
    job_id = build_job_id(1_700_000_000_000)
    await store.submit(NewJob(id=job_id, pool=POOL, model="m", kind=JobKind.BATCH))
    await store.append_lines(job_id, 0, [BatchLine(f"c{i}", "/x", b"{}") for i in range(12)])
    await store.seal(job_id)
    for _ in range(2):
        await claim_lines(driver, 2)
        await lose_all_leases(driver)
    claims = await claim_lines(driver, 11)
    assert {claim.ref.line for claim in claims} == set(range(12)) - {1}
    await driver.complete(claims.pop(0))
    await make_due(driver, "sent")
    claims += await claim_lines(driver, 1)
    for claim in claims:
        await driver.complete(claim)
    assert (await store.fetch(job_id)).state is JobState.SUCCEEDED


async def test_losing_it_twice_with_ones_own_fence_is_once(store: JobStore, driver: Driver) -> None:
    job_id = await submit(store)
    claim = await driver.claim_one()
    assert await store.lose(claim.ref, claim.fence)
    assert await store.lose(claim.ref, claim.fence)
    record = await store.fetch(job_id)
    assert (record.state, record.reason) == (JobState.QUEUED, JobReason.ENGINE_LOST)
    assert record.counts.retried == 1
    later = await driver.claim_one()
    assert not await store.lose(claim.ref, claim.fence)
    await driver.complete(later)
