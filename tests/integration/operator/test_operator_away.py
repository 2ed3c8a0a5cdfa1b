"""What happens while no operator runs, and what the next one makes of it."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from llmjobs_core.jobs import Claim, NewJob
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.states import JobState
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.driver import Driver
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import (
    OperatorProcess,
    build_job,
    build_pool,
    fetch_replicas,
    wait_condition,
    wait_until,
)
from llmjobs_testing.waiting import eventually_async


class Scene:
    """An operator that comes and goes, in a namespace of its own."""

    def __init__(self, plane: ControlPlane, url: str, namespace: str, folder: Path) -> None:
        self._settings = {"namespaces": namespace, "lease_namespace": namespace}
        self._plane, self._url, self._folder = plane, url, folder
        self.operator: OperatorProcess | None = None

    def start(self) -> None:
        """Start it; its lease may still be held by the one before."""
        self.operator = OperatorProcess(
            self._plane, self._url, self._folder / "operator.log", **self._settings
        )
        self.operator.start()
        wait_until(self.operator.is_leading, what="the operator to lead", timeout_s=60)

    def kill(self) -> None:
        """Take it away without a word."""
        if self.operator is not None:
            self.operator.stop(signal.SIGKILL)
            self.operator = None


@pytest.fixture
async def scene(
    plane: ControlPlane, kubectl: Kubectl, valkey_process: Valkey, tmp_path: Path
) -> AsyncIterator[Scene]:
    with redis.Redis.from_url(valkey_process.url) as client:
        client.flushall()
    scene = Scene(plane, valkey_process.url, kubectl.namespace, tmp_path)
    scene.start()
    yield scene
    scene.kill()


@pytest.fixture
async def worker(scene: Scene, kubectl: Kubectl, valkey_process: Valkey) -> AsyncIterator[Driver]:
    driver = Driver(valkey_process.url, PoolKey(kubectl.namespace, "p"))
    yield driver
    await driver.close()


async def submit_http(driver: Driver) -> str:
    """Submit a job as the gateway does."""
    job = NewJob(id=build_job_id(1), pool=driver.pool, model="m", body=b"{}")
    return (await driver.store.submit(job)).job_id


async def test_http_jobs_flow_without_an_operator(
    kubectl: Kubectl, scene: Scene, worker: Driver
) -> None:
    kubectl.apply(build_pool())
    await wait_condition(kubectl, "lwp/p", "condition=Ready")
    scene.kill()
    for _ in range(10):
        worker.beat()
        job_id = await submit_http(worker)
        await worker.answer("done")
        assert (await worker.store.fetch(job_id)).state is JobState.SUCCEEDED


async def test_a_new_operator_knows_all_that_happened_even_with_the_change_stream_gone(
    kubectl: Kubectl, scene: Scene, worker: Driver
) -> None:
    kubectl.apply(build_pool(), *(build_job(name) for name in ("ends", "deleted", "runs")))
    for name in ("ends", "deleted", "runs"):
        await wait_condition(kubectl, f"lj/{name}", "condition=Accepted")
    scene.kill()
    worker.beat()
    claims: dict[str, Claim] = {}
    while len(claims) < 3:
        for claim in await worker.claim():
            claims[(await worker.store.fetch(claim.ref.job_id)).name] = claim
    await worker.complete(claims["ends"], "over")
    kubectl("delete", "lj", "deleted", "--wait=false")
    kubectl.apply(build_job("made"))
    assert worker.sync.delete("llmjobs:changes") == 1
    scene.start()
    await wait_condition(kubectl, "lj/ends", "condition=Complete")
    await wait_condition(kubectl, "lj/deleted", "delete")
    await wait_condition(kubectl, "lj/made", "condition=Accepted")
    await wait_condition(kubectl, "lj/runs", "condition=Started")

    async def are_known() -> bool:
        jobs = (await worker.store.list_jobs(kubectl.namespace)).jobs
        return sorted(job.name for job in jobs) == ["ends", "made", "runs"]

    await eventually_async(are_known, what="the job of the deleted LLMJob to be removed")


async def test_the_work_of_an_object_removed_by_force_meanwhile_is_ended(
    kubectl: Kubectl, scene: Scene, worker: Driver
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    http_id = await submit_http(worker)
    scene.kill()
    kubectl("patch", "lj", "a", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')
    kubectl("delete", "lj", "a", "--timeout=30s")
    scene.start()

    async def is_released() -> bool:
        left = (await worker.store.list_jobs(kubectl.namespace)).jobs
        return [job.id for job in left] == [http_id]

    await eventually_async(is_released, what="the job without an object to be removed")


async def test_a_deployment_deleted_meanwhile_is_made_again(
    kubectl: Kubectl, scene: Scene, worker: Driver
) -> None:
    kubectl.apply(build_pool())
    await wait_condition(kubectl, "lwp/p", "condition=Ready")
    scene.kill()
    kubectl("delete", "deploy", "p-workers", "--timeout=30s")
    scene.start()
    wait_until(lambda: fetch_replicas(kubectl) == 0, what="the Deployment")
