"""The operator while something else is down."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmjobs_core.names import PoolKey
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.driver import Driver
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import (
    OperatorProcess,
    build_job,
    build_pool,
    fetch_replicas,
    run_operator,
    wait_condition,
    wait_until,
)
from llmjobs_testing.servers import ServerThread, start_valkey
from llmjobs_testing.waiting import eventually_async


@pytest.fixture
def own_valkey(server_thread: ServerThread, tmp_path: Path) -> Iterator[Valkey]:
    """A store of the test's own, to be taken away."""
    valkey = start_valkey(server_thread, tmp_path / "valkey")
    yield valkey
    server_thread.run(valkey.stop())


@pytest.fixture
def own_operator(
    plane: ControlPlane, kubectl: Kubectl, own_valkey: Valkey, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """An operator for the test's namespace alone."""
    with run_operator(
        plane, own_valkey.url, tmp_path / "first.log",
        namespaces=kubectl.namespace, lease_namespace=kubectl.namespace,
    ) as operator:  # fmt: skip
        yield operator


async def test_unknown_depth_never_scales_down(
    kubectl: Kubectl, own_operator: OperatorProcess, own_valkey: Valkey, server_thread: ServerThread
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    wait_until(lambda: fetch_replicas(kubectl) == 1, what="a replica")
    server_thread.run(own_valkey.stop())
    await wait_condition(kubectl, "lwp/p", "condition=ScalingActive=false")
    assert fetch_replicas(kubectl) == 1
    server_thread.run(own_valkey.start())
    await wait_condition(kubectl, "lwp/p", "condition=ScalingActive")
    assert fetch_replicas(kubectl) == 1


async def test_a_deletion_waits_for_the_store_and_then_cancels_the_work(
    kubectl: Kubectl, own_operator: OperatorProcess, own_valkey: Valkey, server_thread: ServerThread
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "jsonpath={.metadata.finalizers[0]}")
    server_thread.run(own_valkey.stop())
    kubectl("delete", "lj", "a", "--wait=false")
    assert kubectl.get("lj", "a")["metadata"]["finalizers"] == ["llmjobs.dev/cancel"]
    server_thread.run(own_valkey.start())
    await wait_condition(kubectl, "lj/a", "delete")
    driver = Driver(own_valkey.url, PoolKey(kubectl.namespace, "p"))
    assert (await driver.store.list_jobs(kubectl.namespace)).jobs == ()
    await driver.close()


async def test_a_deletion_before_the_finalizer_is_on_cancels_the_work_once_the_store_is_back(
    kubectl: Kubectl, own_operator: OperatorProcess, own_valkey: Valkey, server_thread: ServerThread
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "jsonpath={.metadata.finalizers[0]}")
    server_thread.run(own_valkey.stop())
    # As before it was put on; without the store the operator puts none on again.
    kubectl("patch", "lj", "a", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')
    kubectl("delete", "lj", "a", "--timeout=30s")
    server_thread.run(own_valkey.start())
    driver = Driver(own_valkey.url, PoolKey(kubectl.namespace, "p"))

    async def is_gone() -> bool:
        return (await driver.store.list_jobs(kubectl.namespace)).jobs == ()

    await eventually_async(is_gone, what="the job to be removed")
    await driver.close()


async def test_jobs_survive_an_emptied_store(
    kubectl: Kubectl, own_operator: OperatorProcess, own_valkey: Valkey
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    driver = Driver(own_valkey.url, PoolKey(kubectl.namespace, "p"))
    await driver.store.client.flushall()
    # Nothing touches the job: the operator sees that the changes it read are gone.

    async def is_back() -> bool:
        return bool((await driver.store.list_jobs(kubectl.namespace)).jobs)

    await eventually_async(is_back, what="the job in the store again")
    driver.beat()
    await driver.answer("after all")
    await wait_condition(kubectl, "lj/a", "condition=Complete")
    await driver.close()


async def test_of_two_operators_one_acts_and_the_other_takes_over(
    plane: ControlPlane,
    kubectl: Kubectl,
    own_operator: OperatorProcess,
    own_valkey: Valkey,
    tmp_path: Path,
) -> None:
    second = OperatorProcess(
        plane, own_valkey.url, tmp_path / "second.log",
        namespaces=kubectl.namespace, lease_namespace=kubectl.namespace,
    )  # fmt: skip
    second.start()
    try:
        wait_until(
            lambda: second.read_metric("llmjobs_operator_leading") == 0.0, what="the second to wait"
        )
        own_operator.send(signal.SIGKILL)
        wait_until(second.is_leading, what="the second to lead")
        kubectl.apply(build_pool(), build_job("a"))
        await wait_condition(kubectl, "lj/a", "condition=Accepted")
    finally:
        second.stop(signal.SIGKILL)
