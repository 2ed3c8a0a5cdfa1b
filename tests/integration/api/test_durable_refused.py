"""Durable jobs, and jobs of LLMJobs, at gateways without a cluster or without rights to it."""

from pathlib import Path

import pytest
import yaml

from llmjobs_core.jobs import NewJob
from llmjobs_core.names import build_job_id
from llmjobs_core.states import JobSource, JobState
from llmjobs_testing.driver import Driver
from llmjobs_testing.gateways import CHAT, Client, run_gateway

DURABLE = {"body": CHAT, "durable": True}


@pytest.fixture
def dead_cluster(tmp_path: Path) -> Path:
    """A kubeconfig of an API server that does not answer."""
    path = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


async def submit_owned(driver: Driver) -> str:
    """Submit a job as the operator does for an LLMJob; returns its id."""
    job = NewJob(
        id=build_job_id(1_700_000_000_000),
        pool=driver.pool,
        model="m",
        body=b'{"model":"m"}',
        name="a",
        source=JobSource.KUBERNETES,
        owner="uid",
        resource="a",
        ttl_s=-1,
    )
    await driver.store.submit(job)
    return job.id


async def test_without_access_to_llmjobs_a_durable_job_is_refused_and_says_why(
    client: Client, driver: Driver
) -> None:
    status, body, _ = await client.call("POST", "/jobs", json=DURABLE)
    assert (status, body["error"]["code"]) == (422, "durable_unavailable")
    assert body["error"]["param"] == "durable"
    many = {"jobs": [{"body": CHAT}, DURABLE]}
    status, body, _ = await client.call("POST", "/jobs", json=many)
    assert (status, body["error"]["param"]) == (422, "jobs[1].durable")
    assert (await driver.store.list_jobs("team-a")).jobs == ()


async def test_without_the_cluster_a_durable_job_gets_503_and_is_nowhere(
    valkey_url: str, driver: Driver, dead_cluster: Path
) -> None:
    async with run_gateway(valkey_url, durable_jobs=True, kubeconfig=dead_cluster) as gateway:
        status, body, headers = await gateway.client.call("POST", "/jobs", json=DURABLE)
        assert (status, body["error"]["code"]) == (503, "cluster_unavailable")
        assert int(headers["retry-after"]) >= 1
        assert (await driver.store.list_jobs("team-a")).jobs == ()
        assert (await gateway.client.call("POST", "/jobs", json={"body": CHAT}))[0] == 202


async def test_without_the_cluster_a_cancel_frees_the_slot_but_promises_nothing(
    valkey_url: str, driver: Driver, dead_cluster: Path
) -> None:
    job = await submit_owned(driver)
    async with run_gateway(valkey_url, durable_jobs=True, kubeconfig=dead_cluster) as gateway:
        status, body, _ = await gateway.client.call("POST", f"/jobs/{job}/cancel")
        assert (status, body["error"]["code"]) == (503, "cluster_unavailable")
        assert (await driver.store.fetch(job)).state is JobState.CANCELLED
        status, _, _ = await gateway.client.call("POST", f"/jobs/{job}/cancel")
        assert status == 503


async def test_a_wish_that_the_operator_would_undo_is_refused(
    client: Client, driver: Driver
) -> None:
    job = await submit_owned(driver)
    for method, path, body in (
        ("POST", f"/jobs/{job}/suspend", None),
        ("PATCH", f"/jobs/{job}", {"class": "batch"}),
    ):
        status, answer, _ = await client.call(method, path, json=body)
        assert (status, answer["error"]["code"]) == (409, "owned_by_kubernetes")
    status, answer, _ = await client.call("POST", f"/jobs/{job}/cancel")
    assert (status, answer["state"]) == (200, "Cancelled")


async def test_the_retry_of_an_llmjobs_job_is_an_ordinary_job_that_expires(
    client: Client, driver: Driver
) -> None:
    job = await submit_owned(driver)
    await driver.fail(await driver.claim_one())
    _, retried, _ = await client.call("POST", f"/jobs/{job}/retry")
    _, view, _ = await client.call("GET", f"/jobs/{retried['id']}")
    assert (view["retryOf"], view["source"], view["ttlSeconds"]) == (job, "http", 86_400)
    assert "resource" not in view
