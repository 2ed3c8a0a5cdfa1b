"""The operator while the API server dies, or the line to it does."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from llmjobs_core.jobs import Claim
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.driver import Driver
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import (
    OperatorProcess,
    build_job,
    build_pool,
    run_operator,
    wait_condition,
    wait_until,
)
from llmjobs_testing.servers import ServerThread
from llmjobs_testing.tcp_proxy import Fault, TcpProxy
from llmjobs_testing.waiting import eventually_async

SEEN_WITHIN_S = 25
"""A watch that is silent for 20 s is taken for dead (handlers.SILENCE_S), and opened again."""


@pytest.fixture
def proxy(plane: ControlPlane, server_thread: ServerThread) -> Iterator[TcpProxy]:
    """The line between the operator and the API server."""
    port = urlsplit(plane.server).port
    assert port is not None
    proxy = TcpProxy("127.0.0.1", port)
    server_thread.run(proxy.start())
    yield proxy
    server_thread.run(proxy.stop())


@pytest.fixture
def operator(
    plane: ControlPlane,
    kubectl: Kubectl,
    proxy: TcpProxy,
    valkey_process: Valkey,
    tmp_path: Path,
) -> Iterator[OperatorProcess]:
    """An operator behind the proxy, for the test's namespace alone."""
    with redis.Redis.from_url(valkey_process.url) as client:
        client.flushall()
    with run_operator(
        plane, valkey_process.url, tmp_path / "operator.log",
        api_server=f"https://127.0.0.1:{proxy.port}",
        namespaces=kubectl.namespace, lease_namespace=kubectl.namespace,
    ) as operator:  # fmt: skip
        yield operator


@contextlib.asynccontextmanager
async def beating(driver: Driver, *claims: Claim) -> AsyncIterator[None]:
    """Keep the driver's worker and its claims alive meanwhile."""

    async def beat() -> None:
        while True:
            driver.beat(held=claims)
            await asyncio.sleep(1)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def apply_soon(kubectl: Kubectl, name: str) -> None:
    """Create an LLMJob as soon as the API server takes it."""

    async def is_taken() -> bool:
        return await asyncio.to_thread(kubectl.is_applied, build_job(name))

    await eventually_async(is_taken, what=f"LLMJob {name} to be taken", timeout_s=60)


async def check_two_jobs_come_right(kubectl: Kubectl, driver: Driver, claim: Claim) -> None:
    """Job ``a`` runs by *claim*, ``b`` was made a moment ago: both end once."""
    await driver.complete(claim, "first")
    await wait_condition(kubectl, "lj/b", "condition=Accepted")
    await driver.answer("second")
    await wait_condition(kubectl, "lj/a", "condition=Complete")
    await wait_condition(kubectl, "lj/b", "condition=Complete")
    jobs = (await driver.store.list_jobs(kubectl.namespace)).jobs
    assert sorted((job.name, job.attempts) for job in jobs) == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("program", ["kube-apiserver", "etcd"])
async def test_jobs_run_on_and_new_ones_are_taken_over_a_restart_of(
    program: str,
    plane: ControlPlane,
    kubectl: Kubectl,
    driver: Driver,
    operator: OperatorProcess,
    server_thread: ServerThread,
) -> None:
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    driver.beat()
    claim = await driver.claim_one()
    restart = plane.restart_etcd if program == "etcd" else plane.restart_api_server
    async with beating(driver, claim):
        await asyncio.to_thread(server_thread.run, restart())
        await apply_soon(kubectl, "b")
        await check_two_jobs_come_right(kubectl, driver, claim)
    assert operator.is_running()


async def test_a_cut_line_is_opened_again_at_once(
    kubectl: Kubectl,
    driver: Driver,
    operator: OperatorProcess,
    proxy: TcpProxy,
    server_thread: ServerThread,
) -> None:
    kubectl.apply(build_pool())
    await wait_condition(kubectl, "lwp/p", "condition=Ready")

    async def cut() -> int:
        return proxy.cut()

    assert server_thread.run(cut()) > 0
    kubectl.apply(build_job("a"))
    began_s = time.monotonic()
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    assert time.monotonic() - began_s < 10


async def test_a_job_made_while_the_watch_is_half_open_is_seen_in_bounded_time(
    kubectl: Kubectl,
    driver: Driver,
    operator: OperatorProcess,
    proxy: TcpProxy,
    server_thread: ServerThread,
) -> None:
    kubectl.apply(build_pool())
    await wait_condition(kubectl, "lwp/p", "condition=Ready")

    async def abandon() -> int:
        return proxy.abandon()

    assert server_thread.run(abandon()) > 0
    kubectl.apply(build_job("a"))
    began_s = time.monotonic()
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
    assert time.monotonic() - began_s < SEEN_WITHIN_S
    assert operator.is_running()


async def test_a_leader_that_can_not_reach_the_api_server_stops_acting_and_comes_back(
    kubectl: Kubectl,
    driver: Driver,
    operator: OperatorProcess,
    proxy: TcpProxy,
    server_thread: ServerThread,
) -> None:
    async def set_fault(fault: Fault) -> None:
        proxy.set_fault(fault)

    server_thread.run(set_fault(Fault.SILENT))
    wait_until(lambda: not operator.is_leading(), what="the leader to stop acting", timeout_s=8)
    server_thread.run(set_fault(Fault.NONE))
    wait_until(operator.is_leading, what="the operator to lead again")
    kubectl.apply(build_pool(), build_job("a"))
    await wait_condition(kubectl, "lj/a", "condition=Accepted")
