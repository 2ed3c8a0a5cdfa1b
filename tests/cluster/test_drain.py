"""Workers are asked to leave: by the eviction API, and by a drain of their node."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from llmjobs_chaos.ledger import Asked
from llmjobs_chaos.load import Clients
from llmjobs_e2e.crowd import Crowd, is_run_by
from llmjobs_e2e.node_files import NODE_NAME
from llmjobs_e2e.pools import build_llmjob, build_scripted, delete_pool, install_pool
from llmjobs_e2e.target import Measure, Target
from llmjobs_testing.waiting import eventually, eventually_async

JOBS = 16
HANDED_BACK_S = 5.0
POOL, OTHER = "leaving", "beside"


@pytest.fixture
def leaving(target: Target, team: str) -> Iterator[str]:
    """A pool of two workers, each with room for all the jobs."""
    values = build_scripted(target, replicas=2, most=2, concurrency=JOBS)
    install_pool(target, POOL, team, values)
    yield POOL
    delete_pool(target, POOL, team)


@pytest.fixture
def alone(target: Target, team: str) -> Iterator[str]:
    """A pool of one worker: of more, its budget lets one go before another is there."""
    install_pool(target, POOL, team, build_scripted(target, most=1))
    yield POOL
    delete_pool(target, POOL, team)


@pytest.fixture
def beside(target: Target, team: str) -> Iterator[str]:
    """Another pool, of another model."""
    install_pool(target, OTHER, team, build_scripted(target, models=(OTHER,)))
    yield OTHER
    delete_pool(target, OTHER, team)


@pytest.fixture
def drained(target: Target) -> Iterator[Callable[[], str]]:
    """Drains our node of workers; the product's own pods have no other node to go to."""
    if target.own is None:
        pytest.skip("drains the node")

    def drain() -> str:
        return target.kubectl(
            "drain", NODE_NAME, "--pod-selector=llmjobs.dev/pool", "--delete-emptydir-data",
            "--timeout=60s",
        )  # fmt: skip

    yield drain
    target.kubectl("uncordon", NODE_NAME)


async def count_running(clients: Clients, jobs: Sequence[Asked], worker: str) -> int:
    """Return how many of the jobs are said to run on this worker."""
    views = await asyncio.gather(*(clients.fetch_job(one.id) for one in jobs))
    return sum(view["state"] == "Running" and is_run_by(view, worker) for view in views)


async def wait_handed_back(clients: Clients, jobs: Sequence[Asked], worker: str) -> None:
    """Return when none of the jobs is said to run on this worker."""

    async def is_handed_back() -> bool:
        return await count_running(clients, jobs, worker) == 0

    await eventually_async(is_handed_back, what="every job to be handed back", timeout_s=30)


def list_workers(target: Target, team: str, pool: str) -> list[str]:
    pods = target.list("pods", team, f"llmjobs.dev/pool={pool}")
    return [pod["metadata"]["name"] for pod in pods]


async def test_an_evicted_worker_hands_its_jobs_back_within_five_seconds(
    target: Target, team: str, leaving: str, clients: Clients, measured: Measure
) -> None:
    crowd = Crowd(clients)
    jobs = await crowd.submit(JOBS, tokens=200, rate=10)
    await crowd.wait_speaking(jobs)
    victim = list_workers(target, team, leaving)[0]
    assert await count_running(clients, jobs, victim) > 0
    eviction: dict[str, Any] = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": victim, "namespace": team},
    }
    path = f"/api/v1/namespaces/{team}/pods/{victim}/eviction"
    struck_s = time.time()
    await asyncio.to_thread(
        target.kubectl, "create", "--raw", path, "-f", "-", stdin=json.dumps(eviction)
    )
    await wait_handed_back(clients, jobs, victim)
    measured("an evicted worker's jobs handed back, s", time.time() - struck_s, HANDED_BACK_S)
    await crowd.finish()
    assert crowd.resets == 0


async def test_a_drained_node_fails_no_job_of_either_pool(
    target: Target,
    team: str,
    alone: str,
    beside: str,
    drained: Callable[[], str],
    clients: Clients,
    measured: Measure,
) -> None:
    crowd = Crowd(clients)
    jobs = await crowd.submit(JOBS, tokens=200, rate=10)
    names = [f"drained-{number}" for number in range(4)]
    llmjobs = [build_llmjob(name, model=beside, tokens=200, rate=10) for name in names]
    target.apply(*llmjobs, namespace=team)
    await crowd.wait_speaking(jobs)
    (worker,) = list_workers(target, team, alone)
    assert await count_running(clients, jobs, worker) == JOBS
    struck_s = time.time()
    draining = asyncio.create_task(asyncio.to_thread(drained))
    await wait_handed_back(clients, jobs, worker)
    measured("a drained node's jobs handed back, s", time.time() - struck_s, HANDED_BACK_S)
    await draining
    target.kubectl("uncordon", NODE_NAME)
    await crowd.finish()

    def are_complete() -> bool:
        phases = [target.get("lj", name, team)["status"].get("phase") for name in names]
        return phases == ["Succeeded"] * len(names)

    await eventually(are_complete, what="the other pool's LLMJobs to succeed", timeout_s=90)
    target.kubectl("-n", team, "delete", "lj", *names)
