"""The release is uninstalled, and installed again by an older Helm: what teams made is theirs."""

import asyncio
from collections.abc import Iterator

import pytest

from llmjobs_chaos.load import Clients
from llmjobs_e2e.pools import build_llmjob, build_scripted, delete_pool, install_pool
from llmjobs_e2e.target import HELM3, RELEASE, Target

POOL = "lasting"


@pytest.fixture
def lasting(target: Target, team: str) -> Iterator[str]:
    """A pool with one worker."""
    install_pool(target, POOL, team, build_scripted(target))
    yield POOL
    delete_pool(target, POOL, team)


@pytest.fixture
def reinstalled(target: Target, team: str, lasting: str) -> str:
    """The id of an LLMJob that had succeeded when the release was taken away and put back."""
    target.apply(build_llmjob("before"), namespace=team)
    target.kubectl("-n", team, "wait", "lj/before", "--for=condition=Complete", "--timeout=60s")
    job_id: str = target.get("lj", "before", team)["status"]["jobId"]
    target.helm("uninstall", RELEASE, "--wait", "--timeout=120s")
    target.install(helm=HELM3)
    return job_id


async def test_resources_results_and_pools_come_back(
    target: Target, team: str, reinstalled: str, clients: Clients
) -> None:
    assert target.get("lj", "before", team)["status"]["phase"] == "Succeeded"
    assert (await clients.fetch_job(reinstalled))["state"] == "Succeeded"
    answer = await clients.fetch_result(reinstalled)
    assert answer["choices"][0]["message"]["content"]
    target.apply(build_llmjob("after"), namespace=team)
    await asyncio.to_thread(
        target.kubectl, "-n", team, "wait", "lj/after", "--for=condition=Complete",
        "--timeout=90s",
    )  # fmt: skip
