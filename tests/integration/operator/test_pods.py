"""Pools and their pods: real controllers, and pods whose status the test writes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llmjobs_testing.driver import Driver
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import (
    build_job,
    build_pool,
    fetch_conditions,
    fetch_event_messages,
    wait_condition,
    wait_until,
)


class Pods:
    """Plays the node of a pool's pods."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def fetch(self) -> list[dict[str, Any]]:
        """Return the pods that are not being deleted."""
        found = json.loads(self._kubectl("get", "pods", "-o", "json"))["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def wait(self, count: int) -> list[str]:
        """Wait for *count* pods; returns their names."""
        wait_until(lambda: len(self.fetch()) == count, what=f"{count} pods")
        return [str(pod["metadata"]["name"]) for pod in self.fetch()]

    def bind(self, name: str) -> None:
        """Place a pod on a node that is not there."""
        namespace = self._kubectl.namespace
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "played"},
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/binding"
        self._kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))

    def report(self, name: str, *, ready: bool, for_s: float) -> None:
        """Say that the pod's worker runs, and since when it is ready or not."""
        since = (datetime.now(UTC) - timedelta(seconds=for_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        word = "True" if ready else "False"
        worker = {
            "name": "worker",
            "ready": ready,
            "started": True,
            "restartCount": 0,
            "image": "x",
            "imageID": "x",
            "state": {"running": {"startedAt": since}},
        }
        conditions = [
            {"type": kind, "status": word, "lastTransitionTime": since}
            for kind in ("Ready", "ContainersReady")
        ]
        status = {
            "phase": "Running",
            "startTime": since,
            "conditions": conditions,
            "containerStatuses": [worker],
        }
        patch = json.dumps({"status": status})
        self._kubectl("patch", "pod", name, "--subresource=status", "--type=strategic", "-p", patch)


@pytest.fixture
def pods(kubectl: Kubectl) -> Iterator[Pods]:
    """The pods of the test's namespace; removed at its end, since no node will."""
    yield Pods(kubectl)
    kubectl("delete", "lwp", "--all", "--wait=false")
    kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")


async def test_an_engine_that_is_not_healthy_is_named_and_the_jobs_wait_with_that_reason(
    kubectl: Kubectl, driver: Driver, pods: Pods
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    (pod,) = pods.wait(1)
    pods.bind(pod)
    pods.report(pod, ready=False, for_s=6)
    await wait_condition(kubectl, "lwp/p", "condition=Ready=false")
    await wait_condition(kubectl, "lj/a", "jsonpath={.status.reason}=EngineUnhealthy")
    assert (
        f"the engine of pod {pod} fails its health check since"
        in (kubectl.get("lj", "a")["status"]["message"])
    )
    conditions = fetch_conditions(kubectl, "lwp", "p")
    assert (conditions["Ready"]["reason"], conditions["Stalled"]["status"]) == (
        "EngineUnhealthy", "False",
    )  # fmt: skip
    wait_until(
        lambda: len(fetch_event_messages(kubectl, "p", "EngineUnhealthy")) == 1, what="the Event"
    )


async def test_an_engine_that_stays_unhealthy_stalls_its_pool_until_it_recovers(
    kubectl: Kubectl, driver: Driver, pods: Pods
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    (pod,) = pods.wait(1)
    pods.bind(pod)
    pods.report(pod, ready=False, for_s=61)
    await wait_condition(kubectl, "lwp/p", "condition=Stalled")
    pods.report(pod, ready=True, for_s=0)
    await wait_condition(kubectl, "lwp/p", "condition=Ready")
    await wait_condition(kubectl, "lwp/p", "condition=Stalled=false")
    await wait_condition(kubectl, "lj/a", "jsonpath={.status.reason}=NoWorkers")
    driver.beat()
    await driver.answer("after all")
    await wait_condition(kubectl, "lj/a", "condition=Complete")
    assert len(fetch_event_messages(kubectl, "p", "EngineUnhealthy")) == 1


async def test_scaling_in_takes_the_pod_with_the_least_work(
    kubectl: Kubectl, driver: Driver, pods: Pods
) -> None:
    kubectl.apply(build_pool(replicas=2), *(build_job(f"j{i}") for i in range(3)))
    idle, busy = pods.wait(2)
    for name, for_s in ((idle, 60), (busy, 5)):
        pods.bind(name)
        pods.report(name, ready=True, for_s=for_s)
    await wait_condition(kubectl, "lwp/p", "jsonpath={.status.readyReplicas}=2")
    driver.worker = f"{busy}.ab12cd"
    driver.beat(4)
    claim = await driver.claim_one()
    driver.beat(4, held=(claim,))
    # Without a cost the one that became ready last would go, and that is the busy one.
    kubectl("scale", "lwp/p", "--replicas=1")
    assert pods.wait(1) == [busy]
