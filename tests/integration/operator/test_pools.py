"""LLMWorkerPools through a real API server, a real operator and a real store."""

import subprocess
import time

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_testing.driver import Driver
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import (
    OperatorProcess,
    build_job,
    build_pool,
    fetch_event_messages,
    fetch_replicas,
    wait_condition,
    wait_until,
)


def test_the_first_job_scales_a_pool_from_zero_within_a_second(
    kubectl: Kubectl, operator: OperatorProcess, plane: ControlPlane
) -> None:
    kubectl.apply(build_pool())
    kubectl("wait", "lwp/p", "--for=condition=Ready", "--timeout=60s")
    assert fetch_replicas(kubectl) == 0
    watch = subprocess.Popen(
        [
            plane.kubectl, "--kubeconfig", str(plane.kubeconfig), "-n", kubectl.namespace, "get",
            "deploy", "p-workers", "--watch", "-o", "jsonpath={.spec.replicas}{'\\n'}",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    try:
        assert watch.stdout.readline().strip() == "0"  # it watches
        kubectl.apply(build_job("a"))
        applied_s = time.monotonic()
        while watch.stdout.readline().strip() == "0":
            pass
        took_s = time.monotonic() - applied_s
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()
    assert took_s < 1.0, f"{took_s:.2f} s"


async def test_an_idle_pool_goes_back_to_zero_and_says_so(kubectl: Kubectl, driver: Driver) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    driver.beat()
    await driver.answer("done")
    await wait_condition(kubectl, "lj/a", "condition=Complete")
    await wait_condition(kubectl, "lwp/p", "jsonpath={.status.desiredReplicas}=0")
    wait_until(
        lambda: bool(fetch_event_messages(kubectl, "p", "ScaledDown")), what="the ScaledDown Event"
    )


async def test_more_work_asks_for_more_replicas_up_to_the_maximum(
    kubectl: Kubectl, driver: Driver
) -> None:
    kubectl.apply(build_pool(), *(build_job(f"j{i}") for i in range(20)))
    wait_until(lambda: fetch_replicas(kubectl) == 3, what="3 replicas for 20 requests")


async def test_kubectl_scale_is_respected_until_it_is_taken_back(
    kubectl: Kubectl, driver: Driver
) -> None:
    kubectl.apply(build_pool())
    await wait_condition(kubectl, "lwp/p", "condition=Ready")
    kubectl("scale", "lwp/p", "--replicas=2")
    await wait_condition(kubectl, "lwp/p", "jsonpath={.status.desiredReplicas}=2")
    scaling = kubectl.get("lwp", "p")["status"]
    assert "spec.replicas fixes 2" in scaling["scalingMessage"]
    kubectl("patch", "lwp", "p", "--type=json", "-p", '[{"op":"remove","path":"/spec/replicas"}]')
    wait_until(lambda: fetch_replicas(kubectl) == 0, what="automatic scaling to zero")


async def test_a_paused_pool_keeps_its_replicas_whatever_waits(
    kubectl: Kubectl, driver: Driver
) -> None:
    kubectl.apply(build_pool(scaling={"maxReplicas": 3, "paused": True}))
    kubectl.apply(build_job("a"))
    await wait_condition(kubectl, "lwp/p", "jsonpath={.status.queued}=1")
    assert fetch_replicas(kubectl) == 0
    assert "paused" in kubectl.get("lwp", "p")["status"]["scalingMessage"]


async def test_the_jobs_of_a_deleted_pool_say_what_they_wait_for(
    kubectl: Kubectl, driver: Driver
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    kubectl("delete", "lwp", "p", "--timeout=30s")
    await wait_condition(kubectl, "lj/a", "jsonpath={.status.reason}=PoolDeleted")
    assert "was deleted" in kubectl.get("lj", "a")["status"]["message"]
    kubectl.apply(build_pool())
    driver.beat()
    await driver.answer("after all")
    await wait_condition(kubectl, "lj/a", "condition=Complete")


async def test_a_deployment_changed_by_hand_is_brought_back(
    kubectl: Kubectl, driver: Driver
) -> None:
    kubectl.apply(build_pool())
    await wait_condition(kubectl, "lwp/p", "condition=Ready")
    kubectl("scale", "deploy/p-workers", "--replicas=3")
    wait_until(lambda: fetch_replicas(kubectl) == 0, what="the replicas that are right")
