"""Reading about many at once tells the same as reading about each."""

from collections.abc import AsyncIterator

import pytest

from llmjobs_core.jobs import NewJob, ProgressUpdate
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.store import JobStore
from llmjobs_testing.driver import Driver

POOL = PoolKey("team-a", "small")
COUNT = 140
"""More than are counted one by one for a place."""


@pytest.fixture
async def driver(valkey_url: str) -> AsyncIterator[Driver]:
    found = Driver(valkey_url, POOL)
    await found.publish(slots=4)
    yield found
    await found.close()


async def submit_jobs(store: JobStore, count: int, *, owner: str = "") -> list[str]:
    ids = [build_job_id(1_700_000_000_000 + number) for number in range(count)]
    for number, job_id in enumerate(ids):
        job = NewJob(
            id=job_id, pool=POOL, model="m", body=b"{}", cost=10 + number, owner=owner
        )  # fmt: skip
        await store.submit(job)
    return ids


async def test_each_place_is_what_a_question_for_it_alone_tells(driver: Driver) -> None:
    store = driver.store
    ids = await submit_jobs(store, COUNT)
    claim = await driver.claim_one()
    alone = [await store.fetch_waiting(job_id) for job_id in ids]
    standings = await store.fetch_standings({POOL: ids})
    assert [standing.waiting for standing in standings] == alone
    assert [standing.record and standing.record.id for standing in standings] == ids
    assert claim.ref.job_id in ids


async def test_a_job_that_is_gone_has_no_place(driver: Driver) -> None:
    (standing,) = await driver.store.fetch_standings({POOL: [build_job_id(1)]})
    assert (standing.record, standing.waiting) == (None, None)


async def test_of_a_pool_that_is_not_there_nothing_is_told_but_its_job(driver: Driver) -> None:
    (job_id,) = await submit_jobs(driver.store, 1)
    (standing,) = await driver.store.fetch_standings({PoolKey("team-a", "none"): [job_id]})
    assert standing.record is not None
    assert (standing.stats, standing.waiting) == (None, None)


async def test_each_pool_is_read_as_alone_and_one_that_is_not_there_is_none(
    driver: Driver,
) -> None:
    await submit_jobs(driver.store, 3)
    found, nothing = await driver.store.fetch_pools([POOL, PoolKey("team-a", "none")])
    alone = await driver.store.fetch_pool(POOL)
    assert found is not None
    assert (found.registration, found.queued) == (alone.registration, 3)
    assert nothing is None


async def test_pools_are_read_by_a_server_that_forgot_the_script(driver: Driver) -> None:
    await driver.store.client.script_flush()
    (found,) = await driver.store.fetch_pools([POOL])
    assert found is not None


async def test_a_text_begins_with_whole_characters(driver: Driver) -> None:
    (job_id,) = await submit_jobs(driver.store, 1)
    claim = await driver.claim_one()
    text = "aéß漢🙂" * 20
    await driver.store.progress(
        [ProgressUpdate(ref=claim.ref, fence=claim.fence, text=text, tokens=1)]
    )
    assert await driver.store.fetch_text_starts([job_id, build_job_id(1)], 11) == [text[:11], ""]


async def test_owners_are_listed_page_by_page_and_ownerless_jobs_left_out(driver: Driver) -> None:
    store = driver.store
    ids = await submit_jobs(store, 5, owner="uid")
    await store.submit(NewJob(id=build_job_id(1), pool=POOL, model="m", body=b"{}"))
    owned, cursor = await store.list_owners("team-a", limit=4)
    rest, end = await store.list_owners("team-a", limit=4, cursor=cursor)
    assert dict(owned + rest) == dict.fromkeys(ids, "uid")
    assert end is None
