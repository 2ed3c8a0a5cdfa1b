"""The first job of a pool at zero, by llama.cpp with a real model."""

import time
from collections.abc import Iterator

import pytest

from llmjobs_chaos.load import Clients
from llmjobs_e2e.pools import CHART, delete_pool
from llmjobs_e2e.target import Measure, Target, read_time

POOL = "small"
SCALED_S = 1.0
FIRST_TOKEN_S = 20.0


@pytest.fixture(scope="module")
def small(target: Target, team: str) -> Iterator[str]:
    """The preset's pool, at zero."""
    values = {
        "preset": "llamacpp-cpu",
        "spec": {"engine": {"container": {"image": target.images.llama}}},
    }
    target.helm("install", POOL, str(CHART), namespace=team, values=values)
    target.kubectl("-n", team, "wait", f"lwp/{POOL}", "--for=condition=Ready", "--timeout=60s")
    assert target.get("deployment", f"{POOL}-workers", team)["spec"]["replicas"] == 0
    yield POOL
    delete_pool(target, POOL, team)


async def test_its_deployment_is_scaled_in_a_second_and_it_speaks_within_twenty(
    target: Target, team: str, small: str, clients: Clients, measured: Measure
) -> None:
    job = {
        "apiVersion": "llmjobs.dev/v1alpha1",
        "kind": "LLMJob",
        "metadata": {"name": "first"},
        "spec": {
            "model": "gemma-3-270m",
            "request": {
                "endpoint": "/v1/completions",
                "body": {"prompt": "Once upon a time", "max_tokens": 24},
            },
        },
    }
    watch = target.popen(
        "-n", team, "get", "deploy", f"{small}-workers", "--watch",
        "-o", "jsonpath={.spec.replicas}{'\\n'}",
    )  # fmt: skip
    assert watch.stdout is not None
    try:
        assert watch.stdout.readline().strip() == "0"  # it watches
        target.apply(job, namespace=team)
        applied_s = time.time()
        while watch.stdout.readline().strip() == "0":
            pass
        scaled_s = time.time() - applied_s
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()
    target.kubectl("-n", team, "wait", "lj/first", "--for=condition=Complete", "--timeout=60s")
    measured("first job to the Deployment's replicas, s", scaled_s, SCALED_S)
    job_id = target.get("lj", "first", team)["status"]["jobId"]
    spoke_s = read_time(await clients.fetch_job(job_id), "firstTokenTime") - applied_s
    measured("first job to its first token, s", spoke_s, FIRST_TOKEN_S)
