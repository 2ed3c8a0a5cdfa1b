"""One part of the system goes away and comes back while jobs run."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from llmjobs_chaos.load import Clients
from llmjobs_e2e.crowd import Crowd
from llmjobs_e2e.pools import build_llmjob, build_scripted, delete_pool, install_pool
from llmjobs_e2e.target import RELEASE, SYSTEM, CommandFailedError, Target
from llmjobs_testing.waiting import eventually

POOL = "steady"
JOBS = 16


@pytest.fixture(scope="module")
def steady(target: Target, team: str) -> Iterator[str]:
    """A pool of two workers."""
    install_pool(target, POOL, team, build_scripted(target, replicas=2, most=2))
    yield POOL
    delete_pool(target, POOL, team)


def delete_operators(target: Target) -> None:
    """Delete every pod of the operator."""
    selector = "app.kubernetes.io/component=operator"
    target.kubectl("-n", SYSTEM, "delete", "pod", "-l", selector, "--wait=false")


def delete_store(target: Target) -> None:
    """Delete the store's pod; its data is on its volume."""
    target.kubectl("-n", SYSTEM, "delete", "pod", f"{RELEASE}-valkey-0", "--wait=false")


def kill_api_server(target: Target) -> None:
    """Kill the API server, which is then started again."""
    assert target.own is not None
    target.own.sandbox.kill_program("kube-apiserver")


def kill_containerd(target: Target) -> None:
    """Kill containerd, which is then started again; containers go on under their shims."""
    assert target.own is not None
    target.own.sandbox.kill_program("containerd")


@pytest.mark.parametrize(
    ("name", "strike", "of_the_node"),
    [
        ("operator", delete_operators, False),
        ("api-server", kill_api_server, True),
        ("containerd", kill_containerd, True),
        ("store", delete_store, False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_jobs_run_on_and_new_ones_are_taken(
    target: Target,
    team: str,
    steady: str,
    clients: Clients,
    name: str,
    strike: Callable[[Target], None],
    of_the_node: bool,
) -> None:
    if of_the_node and target.own is None:
        pytest.skip("strikes the node")
    crowd = Crowd(clients)
    jobs = await crowd.submit(JOBS, tokens=100, rate=10)
    await crowd.wait_speaking(jobs)
    await asyncio.to_thread(strike, target)
    await crowd.submit(JOBS, tokens=20, rate=10)
    await crowd.finish()

    def is_taken() -> bool:
        try:
            target.apply(build_llmjob(f"after-{name}"), namespace=team)
        except CommandFailedError:
            return False
        return True

    await eventually(is_taken, what="the API server to take an LLMJob", timeout_s=60)
    target.kubectl(
        "-n", team, "wait", f"lj/after-{name}", "--for=condition=Complete", "--timeout=60s"
    )
