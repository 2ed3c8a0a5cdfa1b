"""Watchers, and the exporter, while Redis restarts, is emptied or is replaced."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from llmjobs_core.names import PoolKey
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.driver import Driver
from llmjobs_testing.exporters import run_exporter
from llmjobs_testing.gateways import Client, SseEvent, run_gateway
from llmjobs_worker.persist import persist

POOL = PoolKey("team-a", "gemma")
WORDS = [f"w{n} " for n in range(30)]


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A Valkey of this test's own, to be killed."""
    valkey = Valkey(tmp_path / "valkey", tmp_path / "valkey.log")
    await valkey.start()
    yield valkey
    await valkey.stop()


@pytest.fixture
def valkey_url(valkey: Valkey) -> str:
    return valkey.url


def text_of(events: list[SseEvent]) -> str:
    text = ""
    for event in events:
        if event.type == "reset":
            text = ""
        elif event.type == "delta":
            text += event.data["text"]
    return text


class Watching:
    """One open event stream, collected while the test goes on."""

    def __init__(self, client: Client, job_id: str) -> None:
        self.events: list[SseEvent] = []
        self._new = asyncio.Event()
        self._task = asyncio.create_task(self._run(client, job_id))

    async def _run(self, client: Client, job_id: str) -> None:
        async with client.stream(f"/jobs/{job_id}/events") as events:
            async for event in events:
                self.events.append(event)
                self._new.set()

    async def wait_text(self, text: str) -> None:
        """Wait until it has been told *text*."""
        async with asyncio.timeout(30):
            while text_of(self.events) != text:
                await self._new.wait()
                self._new.clear()

    async def wait_ended(self) -> None:
        """Wait until the stream has ended."""
        await asyncio.wait_for(self._task, 30)


async def crash(valkey: Valkey, driver: Driver, *, down_s: float) -> None:
    """Kill it, start it again on its append-only file, and let the worker find it."""
    valkey.kill()
    await valkey.wait()
    await asyncio.sleep(down_s)
    await valkey.start()
    await persist(driver.store.reap, step="reap")


@pytest.mark.parametrize("down_s", [0.0, 2.0, 5.0])
async def test_open_streams_go_on_through_restarts(
    valkey: Valkey, driver: Driver, client: Client, down_s: float
) -> None:
    job = await client.submit()
    socket = await client.http.ws_connect(f"/jobs/{job}/ws")
    sse = Watching(client, job)
    claim = await driver.claim_one()
    told = ""
    for word in WORDS[:2]:
        await driver.say(claim, word)
        told += word
        await sse.wait_text(told)
        await asyncio.sleep(1.1)  # everysec: what was acknowledged is in the file
        await crash(valkey, driver, down_s=down_s)
        driver.beat(held=(claim,))
    for word in WORDS[2:]:
        await driver.say(claim, word)
    await driver.complete(claim)
    await sse.wait_ended()
    messages = [message.json() async for message in socket]
    assert [event.type for event in sse.events] == [message["type"] for message in messages]
    assert [event.id for event in sse.events] == [message["id"] for message in messages]
    assert text_of(sse.events) == "".join(WORDS)
    assert len({event.id for event in sse.events}) == len(sse.events)
    assert sse.events[-1].type == "done"


async def test_a_long_poll_outlives_a_restart(
    valkey: Valkey, driver: Driver, client: Client
) -> None:
    job = await client.submit()
    claim = await driver.claim_one()
    asking = asyncio.create_task(client.call("GET", f"/jobs/{job}?wait=30"))
    await asyncio.sleep(1.1)
    await crash(valkey, driver, down_s=1)
    driver.beat(held=(claim,))
    await driver.complete(claim, "hello")
    status, body, _ = await asyncio.wait_for(asking, 20)
    assert (status, body["state"]) == (200, "Succeeded")


async def test_watchers_of_a_job_that_was_emptied_away_are_told(
    valkey: Valkey, driver: Driver, client: Client
) -> None:
    job = await client.submit()
    claim = await driver.claim_one()
    await driver.say(claim, "hello ")
    socket = await client.http.ws_connect(f"/jobs/{job}/ws")
    polling = asyncio.create_task(client.call("GET", f"/jobs/{job}?wait=50"))
    async with client.http.get(f"/jobs/{job}/events") as stream:
        await asyncio.wait_for(stream.content.readuntil(b"hello"), 10)
        await driver.store.client.flushall()
        rest = await asyncio.wait_for(stream.content.read(), 12)
    assert rest.endswith(b'event: gone\ndata: {"code":"job_not_found"}\n\n')
    messages = [message.json() async for message in socket]
    assert messages[-1]["type"] == "gone"
    status, _, _ = await asyncio.wait_for(polling, 12)
    assert status == 404
    status, _, _ = await client.call("GET", f"/jobs/{job}/events")
    assert status == 404


async def test_a_job_given_again_to_an_emptied_store_is_told_from_its_start(
    valkey: Valkey, driver: Driver, client: Client
) -> None:
    job = await client.submit()
    record = await driver.store.fetch(job)
    claim = await driver.claim_one()
    await driver.say(claim, "lost ")
    watching = Watching(client, job)
    await watching.wait_text("lost ")
    await driver.store.client.flushall()
    await driver.publish()
    await driver.submit_again(record)
    claim = await driver.claim_one()
    driver.forget(claim)
    await driver.say(claim, "found ")
    await driver.complete(claim)
    await watching.wait_ended()
    assert [event.type for event in watching.events][-4:] == ["reset", "state", "delta", "done"]
    assert text_of(watching.events) == "found "


async def test_live_events_come_when_the_new_ids_are_smaller(
    valkey: Valkey, driver: Driver, client: Client
) -> None:
    """As from a server whose clock is behind: what was read last is in its future."""
    shards = [f"llmjobs:shard:{n}" for n in range(16)]
    for shard in shards:
        await driver.store.client.xadd(shard, {"j": "none", "e": "1-1", "t": "state"}, id=_LATER)
    async with run_gateway(valkey.url) as gateway:
        job = await gateway.client.submit()
        watching = Watching(gateway.client, job)
        await driver.store.client.delete(*shards)
        claim = await driver.claim_one()
        await driver.say(claim, "hello")
        await watching.wait_text("hello")
        await driver.complete(claim)
        await watching.wait_ended()


async def test_what_the_store_lost_is_taken_back_from_watchers(
    valkey: Valkey, driver: Driver, client: Client
) -> None:
    """As after a fail-over: the last second is gone, and another worker goes on from before it."""
    job = await client.submit()
    claim = await driver.claim_one()
    await driver.say(claim, "kept ")
    await asyncio.sleep(0.01)
    await driver.say(claim, "lost ")
    watching = Watching(client, job)
    await watching.wait_text("kept lost ")
    redis = driver.store.client
    entries: Any = await redis.xrevrange(f"llmjobs:ev:{job}", count=1)
    await redis.xdel(f"llmjobs:ev:{job}", entries[0][0])
    await redis.set(f"llmjobs:txt:{job}", "kept ")
    for one in await redis.client_list():
        if one["cmd"] == "xread":
            await redis.client_kill_filter(_id=one["id"])
    await watching.wait_text("kept ")
    driver.forget(claim)
    await persist(
        lambda: driver.store.release([(claim.ref, claim.fence)], reason="LeaseLost"), step="release"
    )
    claim = await driver.claim_one()
    await driver.say(claim, "found ")
    await driver.complete(claim)
    await watching.wait_ended()
    assert text_of(watching.events) == "kept found "


_LATER = "99999999999999-0"


async def test_the_exporter_is_silent_while_redis_is_away_and_back_afterwards(
    valkey: Valkey, driver: Driver
) -> None:
    async with run_exporter(valkey.url) as http:

        async def scrape() -> str:
            async with http.get("/metrics", timeout=aiohttp.ClientTimeout(10)) as response:
                return await response.text()

        assert "llmjobs_pool_slots" in await scrape()
        valkey.kill()
        await valkey.wait()
        away = await scrape()
        assert "llmjobs_store_up 0.0" in away
        assert "llmjobs_pool_slots" not in away
        await valkey.start()
        back = await scrape()
        assert "llmjobs_store_up 1.0" in back
        assert "llmjobs_pool_slots" in back
