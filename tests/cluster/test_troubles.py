"""What keeps a pool from working is said where people look, and other pools go on."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from llmjobs_chaos.load import Clients
from llmjobs_e2e.crowd import Crowd
from llmjobs_e2e.node_files import NODE_NAME
from llmjobs_e2e.pools import build_llmjob, build_scripted, delete_pool, install_pool
from llmjobs_e2e.target import Measure, Target
from llmjobs_testing.waiting import eventually

TOLD_S = 10.0
HEALTHY = "healthy"


@pytest.fixture(scope="module")
def healthy(target: Target, team: str) -> Iterator[str]:
    """Another pool of the same team."""
    install_pool(target, HEALTHY, team, build_scripted(target))
    yield HEALTHY
    delete_pool(target, HEALTHY, team)


@pytest.fixture
def gpus(target: Target) -> Iterator[str]:
    """A resource that the node has two of, as a device plugin would tell."""
    if target.own is None:
        pytest.skip("changes the node's status")
    path = "/status/capacity/nvidia.com~1gpu"
    node = ["patch", "node", NODE_NAME, "--subresource=status", "--type=json", "-p"]
    target.kubectl(*node, f'[{{"op":"add","path":"{path}","value":"2"}}]')
    yield "nvidia.com/gpu"
    target.kubectl(*node, f'[{{"op":"remove","path":"{path}"}}]')


async def check(
    target: Target,
    team: str,
    clients: Clients,
    measured: Measure,
    *,
    name: str,
    reason: str,
    engine: dict[str, Any],
    since: str,
) -> None:
    """Give a job to a pool with this *engine*; see that *reason* is told in time, and where."""
    model = f"{name}-model"
    values = build_scripted(
        target, replicas=0, models=(model,), engine=engine, scaling={"maxReplicas": 1}
    )
    await asyncio.to_thread(install_pool, target, name, team, values, ready=False)
    crowd = Crowd(clients)
    try:
        target.apply(build_llmjob(f"{name}-job", model=model), namespace=team)
        struck_s = await asyncio.to_thread(wait_for_trouble, target, team, name, since)

        def places() -> set[str]:
            return find_reason(target, team, name, reason)

        await eventually(
            lambda: places() == {"condition", "event", "job"},
            what=f"{reason} in condition, Event and job; it is in {places()}",
            timeout_s=60,
        )
        measured(f"{reason} is told everywhere, s", time.time() - struck_s, TOLD_S)
        await crowd.submit(4, tokens=8, rate=0)
        await crowd.finish()
    finally:
        target.kubectl("-n", team, "delete", "lj", f"{name}-job", "--wait=false")
        await asyncio.to_thread(delete_pool, target, name, team)


def wait_for_trouble(target: Target, team: str, pool: str, since: str) -> float:
    """Return when a pod first met its trouble, by an Event of the node or the scheduler."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        for event in target.list("events", team):
            involved = event["involvedObject"]
            if involved["name"].startswith(f"{pool}-workers-") and event["reason"] == since:
                return time.time()
        time.sleep(0.2)
    raise AssertionError(f"no Event {since} for a pod of {pool}")


def find_reason(target: Target, team: str, pool: str, reason: str) -> set[str]:
    """Return where *reason* is told."""
    found = set()
    conditions = target.get("lwp", pool, team).get("status", {}).get("conditions", [])
    if any(item["type"] == "Ready" and item["reason"] == reason for item in conditions):
        found.add("condition")
    if any(
        event["reason"] == reason and event["involvedObject"]["name"] == pool
        for event in target.list("events", team)
    ):
        found.add("event")
    status = target.get("lj", f"{pool}-job", team).get("status", {})
    if status.get("reason") == reason and status.get("message"):
        found.add("job")
    return found


async def test_an_engine_that_is_killed_for_want_of_memory(
    target: Target, team: str, healthy: str, clients: Clients, measured: Measure
) -> None:
    engine = {
        "command": ["python", "-c", "held = bytearray(512 * 2**20); print(sum(held))"],
        "args": [],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    await check(
        target, team, clients, measured,
        name="hungry", reason="OutOfMemory", engine=engine, since="Started",
    )  # fmt: skip


async def test_an_image_that_cannot_be_pulled(
    target: Target, team: str, healthy: str, clients: Clients, measured: Measure
) -> None:
    await check(
        target, team, clients, measured,
        name="absent", reason="ImagePullFailed",
        engine={"image": "registry.invalid/nobody/nothing:1"}, since="Failed",
    )  # fmt: skip


async def test_a_gpu_that_does_not_exist(
    target: Target, team: str, healthy: str, gpus: str, clients: Clients, measured: Measure
) -> None:
    await check(
        target, team, clients, measured,
        name="greedy", reason="Unschedulable",
        engine={"resources": {"limits": {gpus: "4"}}}, since="FailedScheduling",
    )  # fmt: skip


async def test_a_pool_whose_gpus_exist_runs(
    target: Target, team: str, gpus: str, clients: Clients
) -> None:
    values = build_scripted(
        target, replicas=1, models=("on-gpu",), engine={"resources": {"limits": {gpus: "2"}}}
    )
    await asyncio.to_thread(install_pool, target, "on-gpu", team, values)
    await asyncio.to_thread(delete_pool, target, "on-gpu", team)
