"""Does every watcher see every character once, in order, however it watches?"""

import asyncio

import aiohttp
import msgspec
import pytest

from llmjobs_core.jobs import ProgressUpdate
from llmjobs_core.store.encode import as_text
from llmjobs_testing.driver import Driver
from llmjobs_testing.gateways import Client, RunningGateway, SseEvent, run_gateway

WORDS = [f"w{n} " for n in range(40)]


def text_of(events: list[SseEvent]) -> str:
    return "".join(event.data["text"] for event in events if event.type == "delta")


async def collect(client: Client, path: str, last_id: str = "") -> list[SseEvent]:
    async with client.stream(path, last_id=last_id) as events:
        return [event async for event in events]


async def test_stream_tells_all_from_submission_to_end(client: Client, driver: Driver) -> None:
    job = await client.submit()
    watching = asyncio.create_task(collect(client, f"/jobs/{job}/events"))
    await driver.answer(*WORDS)
    events = await asyncio.wait_for(watching, 30)
    assert text_of(events) == "".join(WORDS)
    assert [e.type for e in events if e.type != "delta"] == ["state", "done"]
    assert events[-1].data == {"state": "Succeeded", "reason": "Succeeded"}


async def test_a_submission_may_be_answered_by_its_events(client: Client, driver: Driver) -> None:
    async with client.follow() as (job, events):
        claim = await driver.claim_one()
        for word in WORDS:
            await driver.say(claim, word)
        await driver.complete(claim)
        seen = [event async for event in events]
    assert claim.ref.job_id == job
    assert text_of(seen) == "".join(WORDS)
    assert [e.type for e in seen if e.type != "delta"] == ["state", "done"]
    assert seen == await collect(client, f"/jobs/{job}/events")


async def test_the_events_of_a_submission_sent_again_begin_at_its_start(
    client: Client, driver: Driver
) -> None:
    async with client.follow(key="once") as (job, events):
        await driver.answer(*WORDS)
        seen = [event async for event in events]
    async with client.follow(key="once") as (again, events):
        assert (again, [event async for event in events]) == (job, seen)


async def test_stream_of_an_ended_job_replays_and_ends(client: Client, driver: Driver) -> None:
    job = await client.submit()
    await driver.answer(*WORDS)
    events = await asyncio.wait_for(collect(client, f"/jobs/{job}/events"), 30)
    assert text_of(events) == "".join(WORDS)
    assert events[-1].type == "done"


async def test_reconnecting_by_last_event_id_loses_and_repeats_nothing(
    client: Client, driver: Driver
) -> None:
    job = await client.submit()
    claim = await driver.claim_one()
    seen: list[SseEvent] = []
    for part in range(0, len(WORDS), 8):
        async with client.stream(
            f"/jobs/{job}/events", last_id=seen[-1].id if seen else ""
        ) as events:
            for word in WORDS[part : part + 8]:
                await driver.say(claim, word)
            async for event in events:
                seen.append(event)
                if text_of(seen).endswith(WORDS[part + 5]):
                    break
    await driver.complete(claim)
    seen += await collect(client, f"/jobs/{job}/events", seen[-1].id)
    assert text_of(seen) == "".join(WORDS)
    assert len({event.id for event in seen}) == len(seen)


async def test_after_the_last_event_there_is_nothing_more_to_ask(
    client: Client, driver: Driver
) -> None:
    job = await client.submit()
    await driver.answer("hello")
    last = (await collect(client, f"/jobs/{job}/events"))[-1]
    status, _, _ = await client.call(
        "GET", f"/jobs/{job}/events", headers={"Last-Event-ID": last.id}
    )
    assert status == 204


@pytest.mark.parametrize("last_id", [f"{2**64}-1", f"1-{2**64}", "٣-١", "soon"])
async def test_an_event_id_that_no_stream_gives_is_refused(
    last_id: str, client: Client, driver: Driver
) -> None:
    job = await client.submit()
    headers = {"Last-Event-ID": last_id}
    status, body, _ = await client.call("GET", f"/jobs/{job}/events", headers=headers)
    assert (status, body["error"]["param"]) == (422, "Last-Event-ID")


async def test_an_entry_of_another_version_costs_nobody_the_events_behind_it(
    gateway: RunningGateway, driver: Driver
) -> None:
    """As while one version is rolled out: the other writes into the same streams."""
    job = await gateway.client.submit()
    claim = await driver.claim_one()
    watching = asyncio.create_task(collect(gateway.client, f"/jobs/{job}/events"))
    await driver.say(claim, "one ")
    for number in range(16):
        await driver.store.client.xadd(f"llmjobs:shard:{number}", {"x": "of another time"})
    await driver.say(claim, "two")
    await driver.complete(claim)
    assert text_of(await asyncio.wait_for(watching, 10)) == "one two"
    assert (await gateway.client.call("GET", "/healthz"))[0] == 200


async def test_kinds_of_events_that_only_another_version_knows_are_left_out(
    gateway: RunningGateway, driver: Driver
) -> None:
    job = await gateway.client.submit()
    claim = await driver.claim_one()
    path = f"/jobs/{job}/events"
    live = asyncio.create_task(collect(gateway.client, path))
    await driver.say(claim, "one ")
    event_id = as_text(
        await driver.store.client.xadd(f"llmjobs:ev:{job}", {"t": "mood", "is": "good"})
    )
    entry = msgspec.msgpack.encode([[job, event_id, "t", "mood", "is", "good"]])
    for number in range(16):
        await driver.store.client.xadd(f"llmjobs:shard:{number}", {"d": entry})
    await driver.say(claim, "two")
    await driver.complete(claim)
    told = await asyncio.wait_for(live, 10)
    assert (text_of(told), {event.type for event in told}) == (
        "one two",
        {"state", "delta", "done"},
    )
    assert told == await collect(gateway.client, path)


async def test_two_gateways_serve_the_same_stream(
    gateway: RunningGateway, driver: Driver, valkey_url: str
) -> None:
    async with run_gateway(valkey_url) as other:
        job = await gateway.client.submit()
        both = [
            asyncio.create_task(collect(one.client, f"/jobs/{job}/events"))
            for one in (gateway, other)
        ]
        await driver.answer(*WORDS)
        first, second = await asyncio.wait_for(asyncio.gather(*both), 30)
    assert first == second
    assert text_of(first) == "".join(WORDS)


async def test_websocket_gives_the_same_events(client: Client, driver: Driver) -> None:
    job = await client.submit()
    async with client.http.ws_connect(f"/jobs/{job}/ws") as socket:
        await driver.answer(*WORDS)
        messages = [message.json() async for message in socket]
    assert "".join(m["data"]["text"] for m in messages if m["type"] == "delta") == "".join(WORDS)
    assert messages[-1]["type"] == "done"
    assert socket.close_code == 1000


async def test_websocket_refuses_an_unknown_job_with_a_problem(client: Client) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.http.ws_connect("/jobs/job-nope/ws")
    assert refused.value.status == 404


async def test_reset_is_told_when_a_generation_starts_again(client: Client, driver: Driver) -> None:
    job = await client.submit()
    claim = await driver.claim_one()
    await driver.say(claim, "wrong")
    update = ProgressUpdate(
        ref=claim.ref, fence=claim.fence, text="right", tokens=1, reset=True, at=0
    )
    await driver.store.progress([update])
    await driver.complete(claim)
    events = await collect(client, f"/jobs/{job}/events")
    assert [e.type for e in events] == ["state", "delta", "reset", "delta", "done"]


async def test_silent_stream_is_kept_alive(valkey_url: str, driver: Driver) -> None:
    async with run_gateway(valkey_url, keep_alive_s=0.1) as gateway:
        job = await gateway.client.submit()
        async with gateway.client.http.get(f"/jobs/{job}/events") as response:
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["x-accel-buffering"] == "no"
            await asyncio.wait_for(response.content.readuntil(b": ping\n\n"), 20)


async def test_shutdown_ends_streams_with_a_hint_and_another_gateway_goes_on(
    gateway: RunningGateway, driver: Driver, valkey_url: str
) -> None:
    job = await gateway.client.submit()
    claim = await driver.claim_one()
    seen: list[SseEvent] = []
    async with gateway.client.stream(f"/jobs/{job}/events") as events:
        await driver.say(claim, "before ")
        async for event in events:
            seen.append(event)
            if event.type == "delta":
                break
        await gateway.stop()
        seen += [event async for event in events]
    assert seen[-1].type != "done"
    await driver.say(claim, "after")
    await driver.complete(claim)
    async with run_gateway(valkey_url) as other:
        seen += await collect(other.client, f"/jobs/{job}/events", seen[-1].id)
    assert text_of(seen) == "before after"


async def test_watchers_are_bounded(valkey_url: str, driver: Driver) -> None:
    async with run_gateway(valkey_url, max_streams_per_user=1) as gateway:
        job = await gateway.client.submit()
        async with gateway.client.stream(f"/jobs/{job}/events"):
            status, body, headers = await gateway.client.call("GET", f"/jobs/{job}/events")
        assert status == 429
        assert body["error"]["code"] == "too_many_streams"
        assert "retry-after" in headers


async def test_long_poll_answers_when_the_job_ends(client: Client, driver: Driver) -> None:
    job = await client.submit()
    asking = asyncio.create_task(client.call("GET", f"/jobs/{job}?wait=30"))
    await driver.answer("hello")
    status, body, _ = await asyncio.wait_for(asking, 20)
    assert (status, body["state"]) == (200, "Succeeded")


async def test_long_poll_with_an_etag_answers_at_the_next_change(
    client: Client, driver: Driver
) -> None:
    job = await client.submit()
    _, _, headers = await client.call("GET", f"/jobs/{job}")
    known = {"If-None-Match": headers["etag"]}
    status, _, _ = await client.call("GET", f"/jobs/{job}", headers=known)
    assert status == 304
    asking = asyncio.create_task(_ask_until_running(client, job, known))
    await driver.claim_one()
    assert await asyncio.wait_for(asking, 20) == "Running"


async def _ask_until_running(client: Client, job: str, known: dict[str, str]) -> str:
    """Ask by long poll alone: the explanation of the wait may change before the state does."""
    while True:
        status, body, headers = await client.call("GET", f"/jobs/{job}?wait=30", headers=known)
        assert status == 200
        if body["state"] != "Queued":
            return str(body["state"])
        assert headers["etag"] != known["If-None-Match"], "an answer without news"
        known = {"If-None-Match": headers["etag"]}


async def test_prefer_wait_gives_the_result_at_once(client: Client, driver: Driver) -> None:
    asking = asyncio.create_task(
        client.call(
            "POST", "/jobs", json={"prompt": "hi", "model": "m"}, headers={"Prefer": "wait=30"}
        )
    )
    await driver.answer("hello")
    status, body, headers = await asyncio.wait_for(asking, 20)
    assert (status, headers["preference-applied"]) == (200, "wait=30")
    assert body["result"]["choices"][0]["message"]["content"] == "hello"
