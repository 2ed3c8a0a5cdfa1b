"""The chart is upgraded to a new image while jobs run and wait."""

import asyncio
from collections.abc import Iterator

import pytest

from llmjobs_chaos.load import Clients
from llmjobs_e2e.builder import ROOT
from llmjobs_e2e.crowd import Crowd
from llmjobs_e2e.pools import build_scripted, delete_pool, install_pool
from llmjobs_e2e.target import RELEASE, Target

RUNNING, WAITING = 64, 200
POOL = "rolling"


@pytest.fixture
def rolling(target: Target, team: str) -> Iterator[str]:
    """A pool of two workers with room for the jobs that run."""
    values = build_scripted(target, replicas=2, most=2, concurrency=RUNNING // 2)
    install_pool(target, POOL, team, values)
    yield POOL
    delete_pool(target, POOL, team)


@pytest.fixture
def restored(target: Target, rolling: str) -> Iterator[None]:
    """The release as it was, afterwards."""
    yield
    upgrade(target, target.images.tag)


def upgrade(target: Target, tag: str) -> None:
    values = target.values(**target.images.values(tag=tag))
    values["valkey"]["enabled"] = True
    chart = str(ROOT / "charts" / "llmjobs")
    target.helm("upgrade", RELEASE, chart, "--wait", "--timeout=150s", values=values)


def wait_for_worker_image(target: Target, team: str, pool: str, tag: str) -> None:
    """Return when every worker of the pool is of this version."""
    image = target.images.values(tag=tag)["worker"]["image"]
    path = "{.spec.template.spec.containers[0].image}"
    target.kubectl(
        "-n", team, "wait", f"deployment/{pool}-workers", "--timeout=60s",
        f"--for=jsonpath={path}={image['repository']}:{tag}",
    )  # fmt: skip
    target.wait_for_deployment(f"{pool}-workers", team)


async def test_no_job_fails_or_runs_twice_and_no_stream_begins_anew(
    target: Target, team: str, rolling: str, restored: None, clients: Clients
) -> None:
    crowd = Crowd(clients)
    running = await crowd.submit(RUNNING, tokens=200, rate=10)
    await crowd.wait_speaking(running)
    await crowd.submit(WAITING, tokens=20, rate=10)
    await asyncio.to_thread(upgrade, target, target.images.next_tag)
    await asyncio.to_thread(wait_for_worker_image, target, team, rolling, target.images.next_tag)
    await crowd.finish()
    assert crowd.resets == 0
