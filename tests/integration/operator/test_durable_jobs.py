"""Durable HTTP jobs: a real gateway, API server, operator and store; the store loses everything."""

import asyncio
import io
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmjobs_api.settings import AuthMode
from llmjobs_core.names import PoolKey
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.driver import Driver
from llmjobs_testing.durable import bind_gateway, run_durable_gateway
from llmjobs_testing.gateways import CHAT, Client
from llmjobs_testing.kubectl import Kubectl, KubectlError
from llmjobs_testing.operators import (
    OperatorProcess,
    build_pool,
    run_operator,
    wait_condition,
    wait_until,
)
from llmjobs_testing.servers import ServerThread, start_valkey
from llmjobs_testing.waiting import eventually_async

LINES = {"Content-Type": "application/x-ndjson"}
KEY = {"Idempotency-Key": "key-1"}


@pytest.fixture(scope="module")
def own_valkey(
    server_thread: ServerThread, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Valkey]:
    """A store of this module's own, to be emptied at will."""
    valkey = start_valkey(server_thread, tmp_path_factory.mktemp("valkey"))
    yield valkey
    server_thread.run(valkey.stop())


@pytest.fixture
def operator(
    plane: ControlPlane, kubectl: Kubectl, own_valkey: Valkey, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """An operator for the test's namespace, which looks again every second."""
    with run_operator(
        plane, own_valkey.url, tmp_path / "operator.log",
        namespaces=kubectl.namespace, lease_namespace=kubectl.namespace, resync_s="1",
    ) as operator:  # fmt: skip
        yield operator


@pytest_asyncio.fixture
async def driver(
    operator: OperatorProcess, kubectl: Kubectl, own_valkey: Valkey
) -> AsyncIterator[Driver]:
    """Plays the workers of pool ``p``, which is there."""
    kubectl.apply(build_pool())
    await wait_condition(kubectl, "lwp/p", "condition=Ready")
    driver = Driver(own_valkey.url, PoolKey(kubectl.namespace, "p"))
    yield driver
    await driver.close()


@pytest_asyncio.fixture
async def client(
    plane: ControlPlane, driver: Driver, kubectl: Kubectl, own_valkey: Valkey
) -> AsyncIterator[Client]:
    """A client of a gateway with that pool, and with the gateway's rights."""
    bind_gateway(plane)
    async with run_durable_gateway(plane, own_valkey.url, kubectl.namespace) as gateway:
        yield gateway.client


def list_jobs(kubectl: Kubectl) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl("get", "lj", "-o", "json"))["items"]
    return found


async def submit(client: Client, **job: Any) -> dict[str, Any]:
    """Submit a durable job; returns the answer."""
    asked = {"body": CHAT, "durable": True} | job
    status, body, _ = await client.call("POST", "/jobs", json=asked)
    assert status == 202, body
    answer: dict[str, Any] = body
    return answer


async def wait_state(client: Client, job_id: str, state: str) -> dict[str, Any]:
    """Wait until the job is in *state*; it may be away from the store meanwhile."""
    found: dict[str, Any] = {}

    async def is_there() -> bool:
        status, body, _ = await client.call("GET", f"/jobs/{job_id}")
        found.update(body)
        return status == 200 and body["state"] == state

    await eventually_async(is_there, what=f"{job_id} to be {state}", timeout_s=30)
    return found


async def test_a_durable_job_is_there_by_both_doors_under_one_id(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    job = await submit(
        client,
        name="Nightly report",
        labels={"team": "blue"},
        **{"class": "batch", "ttlSeconds": 600, "backoffLimit": 7, "recovery": "Restart"},
        activeDeadlineSeconds=100,
        queueDeadlineSeconds=200,
    )
    status, view, _ = await client.call("GET", f"/jobs/{job['id']}")
    assert (status, view["source"], view["name"]) == (200, "http", "Nightly report")
    assert (view["user"], view["resource"]) == ("anonymous", job["resource"])
    found = kubectl.get("lj", job["resource"])
    assert found["metadata"]["labels"] == {"team": "blue"}
    expected = {
        "model": "m", "class": "batch", "ttlSecondsAfterFinished": 600, "backoffLimit": 7,
        "recovery": "Restart", "activeDeadlineSeconds": 100, "queueDeadlineSeconds": 200,
    }  # fmt: skip
    assert {name: found["spec"][name] for name in expected} == expected
    assert found["spec"]["request"]["body"] == CHAT
    driver.beat()
    async with client.stream(f"/jobs/{job['id']}/events") as events:
        await driver.answer("hello ", "world")
        text = "".join([event.data.get("text", "") async for event in events])
    assert text == "hello world"
    await wait_condition(kubectl, f"lj/{job['resource']}", "condition=Complete")
    assert kubectl.get("lj", job["resource"])["status"]["jobId"] == job["id"]


async def test_unfinished_durable_jobs_complete_under_their_ids_after_flushall(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    jobs = [await submit(client, labels={"n": str(n)}) for n in range(5)]
    driver.beat()
    lost = await driver.claim_one()
    await driver.say(lost, "half of it")
    await driver.store.client.flushall()
    views = [await wait_state(client, job["id"], "Queued") for job in jobs]
    assert [view["labels"]["n"] for view in views] == ["0", "1", "2", "3", "4"]
    assert {(view["source"], view["user"]) for view in views} == {("http", "anonymous")}
    driver.beat()
    for _ in jobs:
        await driver.answer("after all")
    for job in jobs:
        status, text, _ = await client.call("GET", f"/jobs/{job['id']}/text")
        assert (status, text) == (200, b"after all")


async def test_a_watcher_is_told_that_what_it_saw_before_flushall_is_void(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    job = await submit(client)
    await wait_condition(kubectl, f"lj/{job['resource']}", "condition=Accepted")
    driver.beat()
    await driver.say(await driver.claim_one(), "half of it")
    text, last_id = "", ""
    async with client.stream(f"/jobs/{job['id']}/events") as events:
        async for event in events:
            text, last_id = text + event.data.get("text", ""), event.id
            if text:
                break
    await driver.store.client.flushall()
    await wait_state(client, job["id"], "Queued")
    driver.beat()
    await driver.answer("all of it")
    async with client.stream(f"/jobs/{job['id']}/events", last_id=last_id) as events:
        async for event in events:
            text = "" if event.type == "reset" else text + event.data.get("text", "")
    assert text == "all of it"


async def test_the_operator_brings_in_what_the_gateway_could_not_submit(
    plane: ControlPlane, client: Client, driver: Driver, kubectl: Kubectl, own_valkey: Valkey,
    operator: OperatorProcess,
) -> None:  # fmt: skip
    operator.send(signal.SIGSTOP)
    try:
        # The pool is leaving the store: it is known, and takes no more jobs.
        await driver.store.client.hset(f"llmjobs:pool:{driver.pool}", "acc", "0")
        job = await submit(client)
        assert job["state"] == "Pending"
        assert (await client.call("GET", f"/jobs/{job['id']}"))[0] == 404
        await driver.store.client.hset(f"llmjobs:pool:{driver.pool}", "acc", "1")
    finally:
        operator.send(signal.SIGCONT)
    await wait_state(client, job["id"], "Queued")


async def test_who_wants_the_events_of_a_job_that_is_left_to_the_operator_is_told_its_id(
    client: Client, driver: Driver, kubectl: Kubectl, operator: OperatorProcess
) -> None:
    operator.send(signal.SIGSTOP)
    try:
        await driver.store.client.hset(f"llmjobs:pool:{driver.pool}", "acc", "0")
        status, job, headers = await client.call(
            "POST",
            "/jobs",
            json={"body": CHAT, "durable": True},
            headers={"Accept": "text/event-stream"},
        )
        await driver.store.client.hset(f"llmjobs:pool:{driver.pool}", "acc", "1")
    finally:
        operator.send(signal.SIGCONT)
    assert (status, job["state"]) == (202, "Pending")
    assert headers["location"] == f"/jobs/{job['id']}"
    await wait_state(client, job["id"], "Queued")


async def test_the_same_key_makes_one_llmjob_however_often_and_at_once(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    asked = {"body": CHAT, "durable": True}
    answers = await asyncio.gather(
        *(client.call("POST", "/jobs", json=asked, headers=KEY) for _ in range(6))
    )
    assert [status for status, _, _ in answers] == [202] * 6
    assert len({body["id"] for _, body, _ in answers}) == 1
    assert sum(body["created"] for _, body, _ in answers) == 1
    assert len(list_jobs(kubectl)) == 1
    assert len((await driver.store.list_jobs(kubectl.namespace)).jobs) == 1
    other = {"body": {**CHAT, "seed": 1}, "durable": True}
    status, body, _ = await client.call("POST", "/jobs", json=other, headers=KEY)
    assert (status, body["error"]["code"]) == (422, "idempotency_mismatch")


async def test_the_key_of_a_job_that_has_ended_runs_nothing_again_after_flushall(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    asked = {"body": CHAT, "durable": True}
    _, job, _ = await client.call("POST", "/jobs", json=asked, headers=KEY)
    driver.beat()
    await driver.answer("done")
    await wait_condition(kubectl, f"lj/{job['resource']}", "condition=Finished")
    await driver.store.client.flushall()
    kubectl("wait", "lwp/p", "--for=condition=Ready")

    async def is_back() -> bool:
        return driver.pool in await driver.store.list_pools()

    await eventually_async(is_back, what="the pool in the store again")
    status, again, _ = await client.call("POST", "/jobs", json=asked, headers=KEY)
    assert (status, again["id"], again["state"], again["created"]) == (
        202, job["id"], "Succeeded", False,
    )  # fmt: skip
    assert (await driver.store.list_jobs(kubectl.namespace)).jobs == ()


async def test_an_acknowledged_cancel_survives_flushall_before_the_operator_saw_it(
    client: Client, driver: Driver, kubectl: Kubectl, operator: OperatorProcess
) -> None:
    job = await submit(client)
    await wait_condition(kubectl, f"lj/{job['resource']}", "condition=Accepted")
    operator.send(signal.SIGSTOP)
    try:
        status, body, _ = await client.call("POST", f"/jobs/{job['id']}/cancel")
        assert (status, body["state"]) == (200, "Cancelled")
        await driver.store.client.flushall()
    finally:
        operator.send(signal.SIGCONT)
    await wait_condition(kubectl, f"lj/{job['resource']}", "condition=Finished")
    assert kubectl.get("lj", job["resource"])["status"]["phase"] == "Cancelled"
    view = await wait_state(client, job["id"], "Cancelled")
    assert view["attempts"] == 0
    assert "startTime" not in view


async def test_what_is_cancelled_in_the_spec_is_cancelled_and_can_not_be_revived(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    job = await submit(client)
    patch = ["patch", "lj", job["resource"], "--type=merge", "-p"]
    kubectl(*patch, '{"spec":{"cancel":true}}')
    await wait_state(client, job["id"], "Cancelled")
    with pytest.raises(KubectlError, match="taken up again"):
        kubectl(*patch, '{"spec":{"cancel":false}}')


async def test_a_job_suspended_by_http_stays_so_until_it_is_resumed(
    client: Client, driver: Driver, kubectl: Kubectl, operator: OperatorProcess
) -> None:
    job = await submit(client)
    looks = 'llmjobs_operator_reconcile_seconds_count{kind="LLMJob"}'
    status, body, _ = await client.call("POST", f"/jobs/{job['id']}/suspend")
    assert (status, body["state"]) == (200, "Suspended")
    await wait_condition(kubectl, f"lj/{job['resource']}", "condition=Suspended")
    looked = operator.read_metric(looks) or 0
    kubectl("label", "lj", job["resource"], "look=again")
    wait_until(lambda: (operator.read_metric(looks) or 0) >= looked + 2, what="two more looks")
    assert (await client.call("GET", f"/jobs/{job['id']}"))[1]["state"] == "Suspended"
    await driver.store.client.flushall()
    await wait_state(client, job["id"], "Suspended")
    assert (await client.call("POST", f"/jobs/{job['id']}/resume"))[1]["state"] == "Queued"
    driver.beat()
    await driver.answer("at last")
    await wait_condition(kubectl, f"lj/{job['resource']}", "condition=Complete")


async def test_class_and_ttl_are_changed_on_the_llmjob_too(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    job = await submit(client)
    wish = {"class": "interactive", "ttlSeconds": 5}
    status, view, _ = await client.call("PATCH", f"/jobs/{job['id']}", json=wish)
    assert (status, view["class"]) == (200, "interactive")
    spec = kubectl.get("lj", job["resource"])["spec"]
    assert (spec["class"], spec["ttlSecondsAfterFinished"]) == ("interactive", 5)


async def test_deleting_the_llmjob_ends_the_http_job(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    job = await submit(client)
    kubectl("delete", "lj", job["resource"], "--timeout=30s")
    assert (await client.call("GET", f"/jobs/{job['id']}"))[0] == 404


async def test_an_llmjob_deleted_before_the_operator_saw_it_leaves_no_work_behind(
    client: Client, driver: Driver, kubectl: Kubectl, operator: OperatorProcess
) -> None:
    operator.send(signal.SIGSTOP)
    try:
        job = await submit(client)
        kubectl("delete", "lj", job["resource"], "--wait=false")
    finally:
        operator.send(signal.SIGCONT)
    await wait_condition(kubectl, f"lj/{job['resource']}", "delete")
    assert (await client.call("GET", f"/jobs/{job['id']}"))[0] == 404


@pytest.mark.parametrize("how", ["ttl", "delete"])
async def test_an_ended_durable_job_goes_with_its_llmjob(
    client: Client, driver: Driver, kubectl: Kubectl, how: str
) -> None:
    job = await submit(client, ttlSeconds=1 if how == "ttl" else 600)
    driver.beat()
    await driver.answer("done")
    if how == "delete":
        assert (await client.call("DELETE", f"/jobs/{job['id']}"))[0] == 204
    await wait_condition(kubectl, f"lj/{job['resource']}", "delete")
    assert (await client.call("GET", f"/jobs/{job['id']}"))[0] == 404


async def test_a_durable_batch_survives_flushall_with_all_its_lines(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    line = {"method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    data = "\n".join(json.dumps({**line, "custom_id": f"c{n}"}) for n in range(3)) + "\n"
    answers = [
        await client.call(
            "POST", "/jobs?durable=true&label=team=blue", data=data, headers=LINES | KEY
        )
        for _ in range(2)
    ]
    (status, job, headers), (_, again, _) = answers
    assert (status, job["requests"], headers["location"]) == (202, 3, f"/jobs/{job['id']}")
    assert (again["id"], again["created"]) == (job["id"], False)
    await driver.store.client.flushall()
    await wait_state(client, job["id"], "Queued")
    driver.beat()
    done = 0
    while done < 3:
        for claim in await driver.claim():
            await driver.complete(claim, "answer")
            done += 1
    _, results, _ = await client.call("GET", f"/jobs/{job['id']}/results")
    names = [json.loads(row)["custom_id"] for row in results.splitlines()]
    assert names == ["c0", "c1", "c2"]
    await wait_condition(kubectl, f"lj/{job['resource']}", "condition=Complete")


async def test_several_jobs_may_be_durable_or_not(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    jobs = [{"body": CHAT, "durable": True}, {"body": CHAT}, {"body": CHAT, "durable": True}]
    ids = []
    for _ in range(2):
        status, body, _ = await client.call("POST", "/jobs", json={"jobs": jobs}, headers=KEY)
        assert status == 202
        assert [bool(job["resource"]) for job in body["jobs"]] == [True, False, True]
        ids.append([job["id"] for job in body["jobs"]])
    assert ids[0] == ids[1]
    assert len(list_jobs(kubectl)) == 2


async def test_what_an_llmjob_can_not_hold_is_refused_by_field_and_limit(
    client: Client, driver: Driver, kubectl: Kubectl
) -> None:
    async def refuse(**job: Any) -> tuple[int, str | None, str]:
        asked = {"body": CHAT, "durable": True} | job
        data = io.BytesIO(json.dumps(asked).encode())
        status, body, _ = await client.call(
            "POST", "/jobs", data=data, headers={"Content-Type": "application/json"}
        )
        return status, body["error"]["param"], body["detail"]

    status, param, _ = await refuse(labels={"a/b/c": "x"})
    assert (status, param) == (422, "labels")
    status, param, _ = await refuse(namespace="nobody-made-it", pool="p")
    assert (status, param) == (422, "pool")
    long = {**CHAT, "messages": [{"role": "user", "content": "x" * 1_048_576}]}
    status, param, detail = await refuse(body=long)
    assert (status, param) == (413, "body")
    assert "1048576" in detail
    line = {"method": "POST", "url": "/v1/chat/completions", "body": CHAT, "custom_id": "c"}
    data = json.dumps(line) + "\n" + " " * 10 + ("\n" + json.dumps(line)) * 5000
    status, body, _ = await client.call("POST", "/jobs?durable=true", data=data, headers=LINES)
    assert (status, body["error"]["param"]) == (413, "body")
    assert "524288" in body["detail"]
    assert list_jobs(kubectl) == []


async def test_the_clusters_rules_decide_who_may_submit_a_durable_job(
    plane: ControlPlane, client: Client, driver: Driver, kubectl: Kubectl, own_valkey: Valkey
) -> None:
    kubectl("create", "serviceaccount", "submitter")
    kubectl("create", "role", "submit", "--verb=create,get", "--resource=llmjobs.llmjobs.dev")
    account = f"{kubectl.namespace}:submitter"
    kubectl("create", "rolebinding", "submit", "--role=submit", f"--serviceaccount={account}")
    tokens = [kubectl("create", "token", name).strip() for name in ("submitter", "default")]
    async with run_durable_gateway(
        plane, own_valkey.url, kubectl.namespace, auth=AuthMode.KUBERNETES
    ) as gateway:
        ours, theirs = (
            Client(gateway.client.base, {"Authorization": f"Bearer {token}"}) for token in tokens
        )
        try:
            asked = {"body": CHAT, "durable": True}
            assert (await theirs.call("POST", "/jobs", json=asked))[0] == 403
            assert list_jobs(kubectl) == []
            job = await submit(ours)
            await driver.store.client.flushall()
            view = await wait_state(ours, job["id"], "Queued")
            assert view["user"] == f"system:serviceaccount:{account}"
        finally:
            await ours.close()
            await theirs.close()


async def test_a_gateway_without_the_right_says_so_and_accepts_nothing(
    plane: ControlPlane, client: Client, driver: Driver, kubectl: Kubectl, own_valkey: Valkey
) -> None:
    config = plane.kubeconfig_for("nobody", user="nobody")
    async with run_durable_gateway(
        plane, own_valkey.url, kubectl.namespace, kubeconfig=config
    ) as gateway:
        asked = {"body": CHAT, "durable": True}
        status, body, _ = await gateway.client.call("POST", "/jobs", json=asked)
    assert (status, body["error"]["code"]) == (403, "cluster_refused")
    assert "nobody" in body["detail"]
    assert (await driver.store.list_jobs(kubectl.namespace)).jobs == ()


async def test_a_durable_job_whose_llmjob_was_removed_by_force_can_be_cancelled_and_is_ended(
    client: Client, driver: Driver, kubectl: Kubectl, operator: OperatorProcess
) -> None:
    jobs = [await submit(client) for _ in range(2)]
    for job in jobs:
        await wait_condition(kubectl, f"lj/{job['resource']}", "condition=Accepted")
    operator.stop(signal.SIGKILL)
    for job in jobs:
        name = str(job["resource"])
        kubectl("patch", "lj", name, "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')
        kubectl("delete", "lj", name, "--timeout=30s")
    assert (await client.call("POST", f"/jobs/{jobs[0]['id']}/cancel"))[0] == 200
    await wait_state(client, str(jobs[0]["id"]), "Cancelled")
    operator.start()

    async def are_gone() -> bool:
        return await driver.store.fetch_many([str(job["id"]) for job in jobs]) == [None, None]

    await eventually_async(are_gone, what="both jobs to be removed", timeout_s=60)
