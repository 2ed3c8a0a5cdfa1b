"""A worker's pod is deleted by force while it runs 32 jobs."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from llmjobs_chaos.load import Clients
from llmjobs_e2e.crowd import Crowd, is_run_by
from llmjobs_e2e.pools import build_scripted, delete_pool, install_pool
from llmjobs_e2e.target import Measure, Target
from llmjobs_testing.waiting import eventually_async

JOBS = 32
CONTINUED_S = 10.0
POOL = "doomed"


@pytest.fixture
def doomed(target: Target, team: str) -> Iterator[str]:
    """A pool with one worker that takes all the jobs."""
    install_pool(target, POOL, team, build_scripted(target, concurrency=JOBS))
    yield POOL
    delete_pool(target, POOL, team)


async def test_its_jobs_go_on_elsewhere_within_ten_seconds_with_exact_text(
    target: Target, team: str, doomed: str, clients: Clients, measured: Measure
) -> None:
    crowd = Crowd(clients)
    jobs = await crowd.submit(JOBS, tokens=300, rate=10)
    await crowd.wait_speaking(jobs)
    (victim,) = target.list("pods", team, f"llmjobs.dev/pool={doomed}")
    values = build_scripted(target, concurrency=JOBS, replicas=2)
    await asyncio.to_thread(install_pool, target, doomed, team, values)

    name = victim["metadata"]["name"]
    views = await asyncio.gather(*(clients.fetch_job(one.id) for one in jobs))
    assert all(is_run_by(view, name) for view in views)
    struck_s = time.time()
    await asyncio.to_thread(
        target.kubectl, "-n", team, "delete", "pod", name, "--force", "--grace-period=0"
    )

    async def go_on_elsewhere() -> bool:
        views = await asyncio.gather(*(clients.fetch_job(one.id) for one in jobs))
        return all(view["attempts"] >= 2 and not is_run_by(view, name) for view in views)

    await eventually_async(go_on_elsewhere, what="every job is claimed elsewhere", timeout_s=30)
    await crowd.wait_speaking(jobs)
    measured("32 jobs of a worker that is gone go on, s", time.time() - struck_s, CONTINUED_S)
    await crowd.finish()
    assert crowd.resets == 0
