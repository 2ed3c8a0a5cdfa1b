"""Requests to a real gateway: what is taken, and what bad input gets."""

import asyncio
import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmjobs_api.settings import AuthMode
from llmjobs_core.names import PoolKey
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_testing.driver import Driver
from llmjobs_testing.gateways import CHAT, Client, run_gateway
from llmjobs_testing.kubectl import Kubectl

JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}
BATCH_LINE = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}


def check_problem(
    answer: tuple[int, Any, dict[str, str]], status: int, code: str, param: str | None
) -> str:
    """Assert that *answer* is this problem, in this system's one form; returns its sentence."""
    found, body, headers = answer
    assert (found, body["status"], body["error"]["code"]) == (status, status, code), body
    assert headers["content-type"] == "application/problem+json"
    assert body["error"]["param"] == param
    return str(body["detail"])


async def test_several_jobs_are_submitted_at_once(client: Client) -> None:
    status, body, _ = await client.call("POST", "/jobs", json={"jobs": [{"body": CHAT}] * 3})
    assert status == 202
    assert len({job["id"] for job in body["jobs"]}) == 3


async def test_a_batch_is_streamed_in_and_its_results_come_out(
    client: Client, driver: Driver
) -> None:
    data = "\n".join(json.dumps({**BATCH_LINE, "custom_id": f"c{i}"}) for i in range(2))
    status, body, headers = await client.call("POST", "/jobs", data=data, headers=LINES)
    assert (status, body["requests"], headers["location"]) == (202, 2, f"/jobs/{body['id']}")
    for claim in await driver.claim():
        await driver.complete(claim, "answer")
    status, results, _ = await client.call("GET", f"/jobs/{body['id']}/results")
    lines = [json.loads(line) for line in results.splitlines()]
    assert [line["custom_id"] for line in lines] == ["c0", "c1"]
    assert lines[0]["response"]["body"]["choices"][0]["message"]["content"] == "answer"


async def test_the_same_key_submits_once(client: Client) -> None:
    headers = {"Idempotency-Key": "key-1"}
    ids = set()
    for _ in range(2):
        _, body, _ = await client.call("POST", "/jobs", json={"body": CHAT}, headers=headers)
        ids.add(body["id"])
    assert len(ids) == 1


async def test_a_cancelled_job_says_so_and_can_be_tried_again(client: Client) -> None:
    job = await client.submit()
    status, body, _ = await client.call("POST", f"/jobs/{job}/cancel")
    assert (status, body["state"]) == (200, "Cancelled")
    status, again, _ = await client.call("POST", f"/jobs/{job}/retry")
    assert status == 202
    _, view, _ = await client.call("GET", f"/jobs/{again['id']}")
    assert view["retryOf"] == job


async def test_a_list_is_paged_by_its_cursor(client: Client) -> None:
    ids = [await client.submit() for _ in range(3)]
    _, first, headers = await client.call("GET", "/jobs?limit=2")
    assert [job["id"] for job in first["jobs"]] == ids[:0:-1]
    assert 'rel="next"' in headers["link"]
    _, second, _ = await client.call("GET", f"/jobs?limit=2&cursor={first['nextCursor']}")
    assert [job["id"] for job in second["jobs"]] == ids[:1]
    assert second["nextCursor"] is None


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"body": CHAT, "nonsense": 1}, 422, "invalid_request", "nonsense"),
        ({"body": {**CHAT, "model": "nobody"}}, 422, "model_not_found", "model"),
        ({"body": CHAT, "class": "urgent"}, 422, "invalid_request", "class"),
        ({"body": CHAT, "backoffLimit": 101}, 422, "invalid_request", "backoffLimit"),
        ({"body": CHAT, "endpoint": "/v1/audio"}, 422, "invalid_request", "endpoint"),
        ({"jobs": []}, 422, "invalid_request", "jobs"),
    ],
)
async def test_a_wrong_field_is_named(
    client: Client, driver: Driver, body: Any, status: int, code: str, param: str
) -> None:
    check_problem(await client.call("POST", "/jobs", json=body), status, code, param)


async def test_malformed_json_and_a_wrong_content_type_are_refused(client: Client) -> None:
    answer = await client.call("POST", "/jobs", data="{", headers=JSON)
    assert answer[0] == 400
    answer = await client.call("POST", "/jobs", data="a=1", headers={"Content-Type": "text/plain"})
    check_problem(answer, 415, "unsupported_media_type", "Content-Type")


async def test_a_bad_batch_line_is_named_by_its_number(client: Client, driver: Driver) -> None:
    data = json.dumps(BATCH_LINE) + "\n{nonsense\n"
    answer = await client.call("POST", "/jobs", data=data, headers=LINES)
    assert "line 2" in check_problem(answer, 422, "invalid_request", "line 2")
    _, page, _ = await client.call("GET", "/jobs?state=Queued")
    assert page["jobs"] == []


async def test_what_is_over_a_limit_is_refused_with_the_limit(
    valkey_url: str, driver: Driver
) -> None:
    async with run_gateway(valkey_url, max_body_bytes=2048, max_prompt_chars=50) as gateway:
        long = {"model": "m", "messages": [{"role": "user", "content": "x" * 51}]}
        status, body, _ = await gateway.client.call("POST", "/jobs", json={"body": long})
        assert status in {413, 422}
        assert "50" in body["detail"]
        huge = {"model": "m", "messages": [{"role": "user", "content": "x" * 3000}]}
        status, body, _ = await gateway.client.call("POST", "/jobs", json={"body": huge})
        assert status == 413
        assert "2048" in body["detail"]


async def test_an_unknown_job_and_a_bad_cursor_are_clear(client: Client) -> None:
    check_problem(await client.call("GET", "/jobs/job-nope"), 404, "job_not_found", None)
    answer = await client.call("GET", "/jobs?cursor=nope")
    check_problem(answer, 400, "invalid_cursor", "cursor")


async def test_a_result_that_is_not_there_yet_is_a_conflict(client: Client, driver: Driver) -> None:
    job = await client.submit()
    answer = await client.call("GET", f"/jobs/{job}/result")
    check_problem(answer, 409, "not_finished", None)


async def test_the_articles_routes_give_status_progress_and_result(
    client: Client, driver: Driver
) -> None:
    status, body, _ = await client.call("POST", "/generate", json={"prompt": "hi", "model": "m"})
    assert status == 202
    task = body["task_id"]
    _, before, _ = await client.call("GET", f"/tasks/{task}/status")
    assert before["status"] == "PENDING"
    await driver.answer("hello")
    _, after, _ = await client.call("GET", f"/tasks/{task}/status")
    assert (after["status"], after["result"]) == ("SUCCESS", "hello")
    _, progress, _ = await client.call("GET", f"/tasks/{task}/progress")
    assert (progress["progress"], progress["text"]) == (1.0, "hello")


async def test_a_websocket_tells_the_whole_job(client: Client, driver: Driver) -> None:
    job = await client.submit()
    types: list[str] = []
    text = ""
    async with client.http.ws_connect(f"/jobs/{job}/ws") as socket:
        await driver.answer("one ", "two")
        async for message in socket:
            event = json.loads(message.data)
            types.append(event["type"])
            text += event["data"].get("text", "")
    assert (text, types[-1]) == ("one two", "done")


async def test_without_the_store_it_is_503_with_a_time_to_come_back() -> None:
    async with run_gateway("redis://127.0.0.1:1/0") as gateway:
        status, body, headers = await gateway.client.call("POST", "/jobs", json={"body": CHAT})
        assert (status, body["status"]) == (503, 503)
        assert int(headers["retry-after"]) >= 1
        assert (await gateway.client.call("GET", "/readyz"))[0] == 503
        assert (await gateway.client.call("GET", "/healthz"))[0] == 200


async def test_metrics_count_requests_by_route_and_never_by_job(client: Client) -> None:
    job = await client.submit()
    await client.call("GET", f"/jobs/{job}")
    _, text, _ = await client.call("GET", "/metrics")
    shown = text.decode() if isinstance(text, bytes) else str(text)
    assert 'route="/jobs/{job_id}"' in shown
    assert job not in shown


async def test_hashed_keys_let_their_holders_into_their_namespaces(
    valkey_url: str, driver: Driver, tmp_path: Path
) -> None:
    def entry(name: str, namespace: str) -> dict[str, Any]:
        digest = hashlib.sha256(f"{name}_secret".encode()).hexdigest()
        return {"id": name, "sha256": digest, "namespaces": [namespace]}

    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [entry("a", "team-a"), entry("b", "team-b")]}))
    async with run_gateway(valkey_url, auth=AuthMode.APIKEYS, api_keys_file=keys) as gateway:
        ours = Client(gateway.client.base, {"Authorization": "Bearer a_secret"})
        theirs = Client(gateway.client.base, {"Authorization": "Bearer b_secret"})
        wrong = Client(gateway.client.base, {"Authorization": "Bearer a_wrong"})
        try:
            job = await ours.submit()
            assert (await ours.call("GET", f"/jobs/{job}"))[0] == 200
            check_problem(await theirs.call("GET", f"/jobs/{job}"), 404, "job_not_found", None)
            answer = await wrong.call("GET", f"/jobs/{job}")
            check_problem(answer, 401, "unauthenticated", "Authorization")
            answer = await gateway.client.call("GET", f"/jobs/{job}")
            check_problem(answer, 401, "unauthenticated", "Authorization")
        finally:
            for one in (ours, theirs, wrong):
                await one.close()


async def test_the_clusters_own_rules_decide_who_may_do_what(
    valkey_url: str, control_plane: ControlPlane
) -> None:
    kubectl = Kubectl(control_plane, "auth-a")
    kubectl.create_namespace()
    kubectl("create", "serviceaccount", "submitter")
    role = ["--verb=create,get,list", "--resource=llmjobs.llmjobs.dev"]
    kubectl.install_crds()
    kubectl("create", "role", "submit", *role)
    kubectl("create", "rolebinding", "submit", "--role=submit", "--serviceaccount=auth-a:submitter")
    allowed = kubectl("create", "token", "submitter").strip()
    stranger = kubectl("create", "token", "default").strip()
    driver = Driver(valkey_url, PoolKey("auth-a", "p"))
    await driver.publish()
    async with run_gateway(
        valkey_url, auth=AuthMode.KUBERNETES, kubeconfig=control_plane.kubeconfig
    ) as gateway:
        ours = Client(gateway.client.base, {"Authorization": f"Bearer {allowed}"})
        theirs = Client(gateway.client.base, {"Authorization": f"Bearer {stranger}"})
        try:
            job = await ours.submit()
            _, view, _ = await ours.call("GET", f"/jobs/{job}")
            assert view["user"] == "system:serviceaccount:auth-a:submitter"
            assert (await theirs.call("POST", "/jobs", json={"body": CHAT}))[0] == 403
            check_problem(await theirs.call("GET", f"/jobs/{job}"), 404, "job_not_found", None)
            assert (await ours.call("POST", f"/jobs/{job}/cancel"))[0] == 403
            bad = {"Authorization": "Bearer nonsense"}
            answer = await gateway.client.call("GET", "/jobs", headers=bad)
            check_problem(answer, 401, "unauthenticated", "Authorization")
        finally:
            await ours.close()
            await theirs.close()
    await driver.close()


async def test_one_gateway_serves_many_slow_readers(client: Client, driver: Driver) -> None:
    job = await client.submit()
    timeout = aiohttp.ClientTimeout(total=30)
    responses = [await client.http.get(f"/jobs/{job}/events", timeout=timeout) for _ in range(50)]
    await driver.answer("hello")
    for response in responses:
        assert b"event: done" in await response.read()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param([b"x-%d: %s\r\n" % (n, b"a" * 1000) for n in range(100)], id="many headers"),
        pytest.param([b"x: ", *[b"a" * 1000] * 100], id="a header without an end"),
    ],
)
async def test_a_head_without_bound_is_refused(client: Client, head: list[bytes]) -> None:
    host, _, port = client.base.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = b""
    with suppress(ConnectionError):  # it closes while more is on its way
        for part in (b"GET /jobs HTTP/1.1\r\nhost: h\r\n", *head):
            writer.write(part)
            await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer[:12] in {b"", b"HTTP/1.1 400"}
