"""The gateway while Redis is full or away: refusals that can be repeated, and the rest goes on."""

import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from llmjobs_core.names import PoolKey
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.audit import PREFIX, Audit
from llmjobs_testing.driver import Driver
from llmjobs_testing.gateways import CHAT, Client, run_gateway
from llmjobs_testing.servers import ServerThread, start_valkey
from llmjobs_testing.waiting import eventually_async

LINES = {"Content-Type": "application/x-ndjson"}
KEY = {"Idempotency-Key": "key-1"}


@pytest.fixture
def own_valkey(server_thread: ServerThread, tmp_path: Path) -> Iterator[Valkey]:
    """A store of the test's own, to be filled up or taken away."""
    valkey = start_valkey(server_thread, tmp_path / "valkey")
    yield valkey
    server_thread.run(valkey.stop())


@pytest_asyncio.fixture
async def driver(own_valkey: Valkey) -> AsyncIterator[Driver]:
    driver = Driver(own_valkey.url, PoolKey("team-a", "gemma"))
    await driver.publish()
    yield driver
    await driver.close()


@pytest_asyncio.fixture
async def client(own_valkey: Valkey, driver: Driver) -> AsyncIterator[Client]:
    async with run_gateway(own_valkey.url) as gateway:
        yield gateway.client


def fill(driver: Driver, *, room_bytes: int = 0) -> None:
    """Let Redis refuse to grow beyond what it has now and *room_bytes*."""
    info: Any = driver.sync.info("memory")
    driver.sync.config_set("maxmemory", max(1, info["used_memory"] + room_bytes))


def give_room(driver: Driver) -> None:
    """Let Redis grow again."""
    driver.sync.config_set("maxmemory", 0)


def make_batch(count: int, size: int) -> bytes:
    """Return a batch of *count* lines of about *size* bytes."""
    body = {**CHAT, "messages": [{"role": "user", "content": "x" * size}]}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    rows = (json.dumps({**line, "custom_id": f"c{number}"}) for number in range(count))
    return "\n".join(rows).encode()


def check_refusal(answer: tuple[int, Any, dict[str, str]], code: str) -> None:
    status, body, headers = answer
    assert (status, body["error"]["code"]) == (503, code), body
    assert headers["content-type"] == "application/problem+json"
    assert int(headers["retry-after"]) >= 1


async def count_jobs(client: Client) -> int:
    status, page, _ = await client.call("GET", "/jobs?limit=200")
    assert status == 200, page
    return len(page["jobs"])


async def test_a_full_store_refuses_a_job_and_takes_it_once_when_there_is_room(
    client: Client, driver: Driver
) -> None:
    fill(driver)
    for _ in range(2):
        answer = await client.call("POST", "/jobs", json={"body": CHAT}, headers=KEY)
        check_refusal(answer, "store_full")
    assert await count_jobs(client) == 0
    give_room(driver)
    ids = set()
    for _ in range(2):
        _, body, _ = await client.call("POST", "/jobs", json={"body": CHAT}, headers=KEY)
        ids.add(body["id"])
    assert len(ids) == await count_jobs(client) == 1


async def test_while_the_store_is_full_reads_streams_and_cancels_go_on(
    client: Client, driver: Driver
) -> None:
    first, second, third = [await client.submit() for _ in range(3)]
    claim = await driver.claim_one()
    fill(driver)
    async with client.stream(f"/jobs/{first}/events") as events:
        await driver.say(claim, "hello ")
        await driver.complete(claim, "hello ")
        kinds = [event.type async for event in events]
    assert kinds[-2:] == ["delta", "done"]
    assert (await client.call("GET", f"/jobs/{first}/result"))[0] == 200
    status, body, _ = await client.call("POST", f"/jobs/{second}/cancel")
    assert (status, body["state"]) == (200, "Cancelled")
    status, body, _ = await client.call("POST", f"/jobs/{third}/suspend")
    assert (status, body["state"]) == (200, "Suspended")
    assert (await client.call("DELETE", f"/jobs/{second}"))[0] == 204
    assert (await client.call("GET", "/jobs"))[0] == 200
    assert (await client.call("GET", "/readyz"))[0] == 200


@pytest.mark.parametrize("headers", [{}, KEY], ids=["without a key", "with a key"])
async def test_a_batch_that_fills_the_store_is_refused_and_leaves_nothing(
    client: Client, driver: Driver, headers: dict[str, str]
) -> None:
    # More than one write to the store, so that it is refused half way.
    data = make_batch(1_500, 800)
    before = set(driver.sync.scan_iter(f"{PREFIX}*"))
    fill(driver, room_bytes=700_000)
    answer = await client.call("POST", "/jobs", data=io.BytesIO(data), headers=LINES | headers)
    check_refusal(answer, "store_full")
    assert await count_jobs(client) == 0
    left = {key for key in set(driver.sync.scan_iter(f"{PREFIX}*")) - before if b"job-" in key}
    assert left == set()
    give_room(driver)
    answer = await client.call("POST", "/jobs", data=io.BytesIO(data), headers=LINES | headers)
    status, body, _ = answer
    assert (status, body["requests"]) == (202, 1_500)
    assert await count_jobs(client) == 1
    Audit(driver.sync, [str(driver.pool)]).check()


async def test_of_several_jobs_those_accepted_are_named_and_the_key_brings_the_rest(
    client: Client, driver: Driver
) -> None:
    body = {**CHAT, "messages": [{"role": "user", "content": "x" * 40_000}]}
    asked = {"jobs": [{"body": body}] * 20}
    fill(driver, room_bytes=400_000)
    answer = await client.call("POST", "/jobs", json=asked, headers=KEY)
    check_refusal(answer, "store_full")
    accepted = answer[1]["jobs"]
    assert 0 < len(accepted) < 20
    assert f"{len(accepted)} of 20" in answer[1]["detail"]
    give_room(driver)
    status, body, _ = await client.call("POST", "/jobs", json=asked, headers=KEY)
    ids = [job["id"] for job in body["jobs"]]
    assert (status, ids[: len(accepted)]) == (202, accepted)
    assert len(set(ids)) == await count_jobs(client) == 20


async def test_a_store_that_goes_away_and_comes_back_gives_one_job_for_a_key(
    client: Client, driver: Driver, own_valkey: Valkey, server_thread: ServerThread
) -> None:
    job = await client.submit()
    server_thread.run(own_valkey.stop())
    check_refusal(
        await client.call("POST", "/jobs", json={"body": CHAT}, headers=KEY), "store_unavailable"
    )
    check_refusal(
        await client.call("POST", "/jobs", data=make_batch(2, 10), headers=LINES),
        "store_unavailable",
    )
    check_refusal(await client.call("POST", f"/jobs/{job}/cancel"), "store_unavailable")
    server_thread.run(own_valkey.start())

    async def is_accepted() -> bool:
        answer = await client.call("POST", "/jobs", json={"body": CHAT}, headers=KEY)
        return answer[0] == 202

    await eventually_async(is_accepted, what="the gateway to reach the store again")
    assert await is_accepted()
    assert await count_jobs(client) == 2


async def test_an_upload_that_was_given_up_can_be_made_again_with_its_key(
    client: Client, driver: Driver
) -> None:
    data = make_batch(1_200, 10)

    async def break_off() -> AsyncIterator[bytes]:
        yield data[: len(data) * 3 // 4]
        raise ConnectionResetError

    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await client.call("POST", "/jobs", data=break_off(), headers=LINES | KEY)

    async def is_abandoned() -> bool:
        members: Any = driver.sync.zrange(f"{PREFIX}dl", 0, -1)
        for member in members:
            driver.sync.zadd(f"{PREFIX}dl", {member: 1})
        await driver.store.reap()
        page = await driver.store.list_jobs("team-a")
        return [job.reason for job in page.jobs] == ["InputAbandoned"]

    await eventually_async(is_abandoned, what="the upload to be given up")
    status, body, _ = await client.call("POST", "/jobs", data=data, headers=LINES | KEY)
    assert (status, body["requests"], body["state"]) == (202, 1_200, "Queued")
    assert await count_jobs(client) == 1
