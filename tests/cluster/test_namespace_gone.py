"""A namespace with 500 LLMJobs is deleted."""

import json
import time

import pytest

from llmjobs_e2e.pools import build_llmjob, build_scripted, install_pool
from llmjobs_e2e.target import RELEASE, SYSTEM, Measure, Target

JOBS = 500
ACCEPTED_S = 120.0
GONE_S = 30.0
POOL = "crowded"


def fill(target: Target, namespace: str) -> None:
    """Make a team whose pool runs a few of its LLMJobs while the others wait."""
    target.create_team(namespace)
    install_pool(target, POOL, namespace, build_scripted(target, most=1, concurrency=8))
    jobs = [build_llmjob(f"job-{number}", tokens=6000, rate=10) for number in range(JOBS)]
    document = {"apiVersion": "v1", "kind": "List", "items": jobs}
    target.kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(document))
    deadline_s = time.monotonic() + ACCEPTED_S
    while count_accepted(target, namespace) < JOBS:  # `kubectl wait` asks for one after the other
        assert time.monotonic() < deadline_s, "not every LLMJob was accepted"
        time.sleep(0.5)


def count_accepted(target: Target, namespace: str) -> int:
    return sum(
        any(item["type"] == "Accepted" and item["status"] == "True" for item in conditions)
        for job in target.list("lj", namespace)
        for conditions in [job.get("status", {}).get("conditions", [])]
    )


def wait_gone(target: Target, namespace: str) -> None:
    target.kubectl("wait", f"namespace/{namespace}", "--for=delete", "--timeout=120s")


def test_it_is_gone_within_thirty_seconds(target: Target, team: str, measured: Measure) -> None:
    fill(target, "team-gone")
    struck_s = time.monotonic()
    target.kubectl("delete", "namespace", "team-gone", "--wait=false")
    wait_gone(target, "team-gone")
    took_s = time.monotonic() - struck_s
    measured("a namespace with 500 LLMJobs is gone, s", took_s, GONE_S)


@pytest.fixture
def operators(target: Target) -> int:
    """How many operators the release has."""
    found: int = target.get("deploy", f"{RELEASE}-operator", SYSTEM)["spec"]["replicas"]
    return found


def test_deleted_while_the_operator_is_down_it_goes_once_that_is_back(
    target: Target, team: str, operators: int, measured: Measure
) -> None:
    fill(target, "team-left")
    deployment = f"deploy/{RELEASE}-operator"
    target.kubectl("-n", SYSTEM, "scale", deployment, "--replicas=0")
    target.kubectl(
        "-n", SYSTEM, "wait", "pod", "-l", "app.kubernetes.io/component=operator",
        "--for=delete", "--timeout=60s",
    )  # fmt: skip
    target.kubectl("delete", "namespace", "team-left", "--wait=false")
    target.kubectl("-n", SYSTEM, "scale", deployment, f"--replicas={operators}")
    target.wait_for_deployment(f"{RELEASE}-operator", SYSTEM)
    back_s = time.monotonic()
    wait_gone(target, "team-left")
    took_s = time.monotonic() - back_s
    measured("the same, once the operator is back, s", took_s, GONE_S)
