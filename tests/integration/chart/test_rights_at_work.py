"""Operators with the rights that a release of the chart gives, and not one more."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmjobs_core.errors import PoolNotFound
from llmjobs_core.names import PoolKey
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_testing.charts import NAMESPACE, ROOT, STORE, render
from llmjobs_testing.driver import Driver
from llmjobs_testing.gateways import run_gateway
from llmjobs_testing.kubectl import Kubectl, KubectlError
from llmjobs_testing.operators import (
    OperatorProcess,
    build_job,
    build_pool,
    fetch_event_messages,
    fetch_replicas,
    run_operator,
    wait_condition,
    wait_until,
)
from llmjobs_testing.releases import Releases
from llmjobs_testing.waiting import eventually_async

CHOICES: dict[str, dict[str, Any]] = {
    "cluster": {},
    "namespaced": {
        "rbac": {"namespaced": True},
        "gateway": {"auth": "apikeys", "apiKeysSecret": "keys"},
    },
}


@pytest.fixture(params=sorted(CHOICES))
def operator(
    request: pytest.FixtureRequest,
    plane: ControlPlane,
    kubectl: Kubectl,
    valkey_url: str,
    tmp_path: Path,
) -> Iterator[OperatorProcess]:
    """An operator as the release's account; all it may do comes from the chart."""
    releases = Releases(plane, kubectl.namespace)
    releases.install({**STORE, **CHOICES[request.param]})
    # An operator without the right to watch CRDs looks for them once, when it starts.
    wait_until(lambda: is_served(kubectl), what="the kinds to be served")
    user = f"system:serviceaccount:{kubectl.namespace}:llmjobs-operator"
    namespaces = kubectl.namespace if request.param == "namespaced" else ""
    with run_operator(
        plane, valkey_url, tmp_path / f"{kubectl.namespace}.log",
        user=user, namespaces=namespaces, lease_namespace=kubectl.namespace,
    ) as operator:  # fmt: skip
        yield operator
        kubectl("delete", "lj,lwp", "--all", "--timeout=60s")
    releases("uninstall", "llmjobs")
    kubectl("delete", "crd", "llmjobs.llmjobs.dev", "llmworkerpools.llmjobs.dev")


def is_served(kubectl: Kubectl) -> bool:
    """Whether the API server tells of both kinds."""
    try:
        found = json.loads(kubectl("get", "--raw", "/apis/llmjobs.dev/v1alpha1"))
    except KubectlError:
        return False
    return {"llmjobs", "llmworkerpools"} <= {item["name"] for item in found["resources"]}


@pytest.fixture
async def driver(
    operator: OperatorProcess, kubectl: Kubectl, valkey_url: str
) -> AsyncIterator[Driver]:
    """Plays the workers of pool ``p``."""
    driver = Driver(valkey_url, PoolKey(kubectl.namespace, "p"))
    yield driver
    await driver.close()


async def test_a_job_goes_from_apply_to_its_end(
    kubectl: Kubectl, driver: Driver, operator: OperatorProcess
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    driver.beat()
    await driver.answer("done")
    await wait_condition(kubectl, "lj/a", "condition=Complete")
    wait_until(
        lambda: bool(fetch_event_messages(kubectl, "p", "ScaledUp")), what="the ScaledUp Event"
    )
    assert operator.is_leading()


async def test_an_externally_scaled_pool_follows_its_scale_subresource(
    kubectl: Kubectl, driver: Driver, operator: OperatorProcess
) -> None:
    pool = build_pool(scaling={"mode": "external", "maxReplicas": 9}, replicas=0)
    kubectl.apply(pool, build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    sample = f'llmjobs_pool_replicas{{kind="needed",pool="{kubectl.namespace}/p"}}'
    wait_until(lambda: operator.read_metric(sample) == 1.0, what="the need to be told")
    assert fetch_replicas(kubectl) == 0
    kubectl("scale", "lwp/p", "--replicas=7")
    wait_until(lambda: fetch_replicas(kubectl) == 7, what="the Deployment to follow")
    await wait_condition(kubectl, "lwp/p", "condition=ScalingActive=false")


async def test_an_externally_scaled_deployment_is_left_as_it_is(
    kubectl: Kubectl, driver: Driver, operator: OperatorProcess
) -> None:
    kubectl.apply(build_pool(scaling={"mode": "external"}))
    wait_until(lambda: fetch_replicas(kubectl) == 0, what="the Deployment")
    kubectl("scale", "deploy/p-workers", "--replicas=3")
    kubectl.apply(build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    kubectl("wait", "lwp/p", "--for=jsonpath={.status.desiredReplicas}=3", "--timeout=60s")
    assert fetch_replicas(kubectl) == 3


@pytest.mark.parametrize("operator", ["cluster"], indirect=True)
async def test_helm_tests_llmjob_goes_through_with_the_rights_of_its_account(
    plane: ControlPlane, kubectl: Kubectl, driver: Driver, tmp_path: Path
) -> None:
    kubectl.apply(build_pool())
    kubectl.apply(*build_test_account(kubectl.namespace))
    token = kubectl("create", "token", "llmjobs-test").strip()
    host, port = plane.server.removeprefix("https://").split(":")
    trying = try_door(
        "llmjob", make_account(tmp_path, token, plane), namespace=kubectl.namespace,
        KUBERNETES_SERVICE_HOST=host, KUBERNETES_SERVICE_PORT=port,
    )  # fmt: skip
    async with trying as said:
        driver_works = asyncio.create_task(answer_one(driver))
        assert "passed" in await said
        await driver_works


async def test_helm_tests_http_job_goes_through(
    plane: ControlPlane, valkey_url: str, tmp_path: Path
) -> None:
    driver = Driver(valkey_url, PoolKey("team-a", "p"))
    await driver.publish()
    async with run_gateway(valkey_url) as gateway:
        account = make_account(tmp_path, "nobody", plane)
        trying = try_door("http-job", account, namespace="team-a", GATEWAY=gateway.client.base)
        async with trying as said:
            await driver.answer("done")
            assert "passed" in await said
    await driver.close()


async def answer_one(driver: Driver) -> None:
    async def is_published() -> bool:
        try:
            await driver.store.fetch_pool(driver.pool)
        except PoolNotFound:
            return False
        return True

    await eventually_async(is_published, what="the pool to be published")
    driver.beat()
    await driver.answer("done")


def build_test_account(namespace: str) -> list[dict[str, Any]]:
    """Return the account of `helm test` and its rights, in *namespace*."""
    kinds = {"ServiceAccount", "Role", "RoleBinding"}
    found = [
        item
        for item in render(STORE)
        if item["metadata"]["name"] == "llmjobs-test" and item["kind"] in kinds
    ]
    text = json.dumps(found).replace(NAMESPACE, namespace)
    account: list[dict[str, Any]] = json.loads(text)
    return account


def make_account(folder: Path, token: str, plane: ControlPlane) -> Path:
    """Return a folder as a pod has it of its account."""
    (folder / "token").write_text(token)
    (folder / "ca.crt").write_bytes(plane.authority.certificate.read_bytes())
    return folder


@asynccontextmanager
async def try_door(
    test: str, account: Path, *, namespace: str, **env: str
) -> AsyncIterator[asyncio.Task[str]]:
    """Run the program of a test pod; the task gives what it prints."""
    wanted = {
        "TEST": test, "NAMESPACE": namespace, "POOL": "p", "TIMEOUT_S": "60", "GATEWAY": "",
        "ACCOUNT_DIR": str(account), **env,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "charts" / "llmjobs" / "files" / "try_doors.py"),
        env={**os.environ, **wanted},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    async def read() -> str:
        out, _ = await process.communicate()
        return out.decode()

    task = asyncio.create_task(read())
    try:
        yield task
    finally:
        if process.returncode is None:
            process.kill()
        await task
