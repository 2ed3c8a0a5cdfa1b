"""Submissions that travel together: each has an answer, a refusal or an outage of its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from llmjobs_core.errors import PoolNotFound, StoreUnavailable
from llmjobs_core.jobs import NewJob
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.store import JobStore, StoreOptions
from llmjobs_testing.driver import Driver

POOL = PoolKey("team-a", "small")
COUNT = 40


@pytest.fixture
async def store(valkey_url: str) -> AsyncIterator[JobStore]:
    driver = Driver(valkey_url, POOL)
    await driver.publish(slots=4)
    yield driver.store
    await driver.close()


def make_job(number: int, pool: PoolKey = POOL, **changes: Any) -> NewJob:
    fields: dict[str, Any] = {"body": b'{"model":"m"}', "model": "m", "pool": pool}
    return NewJob(id=build_job_id(1_700_000_000_000 + number), **(fields | changes))


async def test_submissions_of_one_moment_take_few_round_trips(store: JobStore) -> None:
    await store.submit(make_job(0))
    before = await count_reads(store.client)
    jobs = [make_job(n) for n in range(1, COUNT + 1)]
    found = await asyncio.gather(*(store.submit(job) for job in jobs))
    took = await count_reads(store.client) - before
    assert [one.job_id for one in found] == [job.id for job in jobs]
    assert took < COUNT / 2


async def count_reads(client: redis.asyncio.Redis) -> int:
    """Return how often the server has read from a connection."""
    return int((await client.info("stats"))["total_reads_processed"])


async def test_a_refusal_concerns_its_own_submission_alone(store: JobStore) -> None:
    jobs = [make_job(n, PoolKey("team-a", "none") if n == 7 else POOL) for n in range(COUNT)]
    found = await asyncio.gather(*(store.submit(job) for job in jobs), return_exceptions=True)
    assert isinstance(found.pop(7), PoolNotFound)
    assert not [one for one in found if isinstance(one, BaseException)]


async def test_a_server_that_forgot_the_scripts_is_given_them(store: JobStore) -> None:
    await store.client.script_flush()
    jobs = [make_job(n) for n in range(COUNT)]
    found = await asyncio.gather(*(store.submit(job) for job in jobs))
    assert all(one.created for one in found)


async def test_the_same_key_gives_one_job_also_within_a_moment(store: JobStore) -> None:
    jobs = [make_job(n, idempotency_key="once", fingerprint="same") for n in range(COUNT)]
    found = await asyncio.gather(*(store.submit(job) for job in jobs))
    assert len({one.job_id for one in found}) == 1
    assert sum(one.created for one in found) == 1


async def test_who_leaves_takes_nobody_along(store: JobStore) -> None:
    tasks = [asyncio.create_task(store.submit(make_job(n))) for n in range(COUNT)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found.pop(3), asyncio.CancelledError)
    assert not [one for one in found if isinstance(one, BaseException)]


async def test_an_outage_is_told_to_everybody() -> None:
    store = JobStore.connect(StoreOptions("redis://127.0.0.1:1/0"))
    found = await asyncio.gather(
        *(store.submit(make_job(n)) for n in range(3)), return_exceptions=True
    )
    assert [type(one) for one in found] == [StoreUnavailable] * 3
    await store.close()
