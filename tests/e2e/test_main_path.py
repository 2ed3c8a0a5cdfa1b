"""The main path on real parts only: two doors, one model, a pool from zero and back."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from llmjobs_testing.local_stack import START_TIMEOUT_S, LocalStack, fetch

EXAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "examples"
MODEL = "gemma-3-270m"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(START_TIMEOUT_S)]


def wait_for_replicas(stack: LocalStack, count: int, timeout_s: int = 120) -> None:
    stack.kubectl(
        "wait", "lwp/small", f"--for=jsonpath={{.status.readyReplicas}}={count}",
        f"--timeout={timeout_s}s", timeout_s=timeout_s + 30,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pool(stack: LocalStack) -> str:
    """The example pool, at zero."""
    stack.kubectl("apply", "-f", str(EXAMPLES / "pool-llama.yaml"))
    stack.kubectl("wait", "lwp/small", "--for=condition=Ready", "--timeout=60s")
    return "small"


def test_both_doors_complete_with_text_and_the_pool_goes_from_zero_and_back(
    stack: LocalStack, pool: str
) -> None:
    deployment = json.loads(stack.kubectl("get", "deploy", f"{pool}-workers", "-o", "json"))
    assert deployment["spec"]["replicas"] == 0
    gateway = stack.status()["gateway_url"]

    for example in ("job.yaml", "batch-inline.yaml"):
        stack.kubectl("apply", "-f", str(EXAMPLES / example))
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Say something."}]}
    answer = json.loads(fetch(f"{gateway}/jobs", {"body": {**body, "max_tokens": 24}}))

    stack.kubectl(
        "wait", "lj/story", "lj/twenty-places", "--for=condition=Complete", "--timeout=150s"
    )
    story = json.loads(stack.kubectl("get", "lj", "story", "-o", "json"))["status"]
    assert fetch(f"{gateway}/jobs/{story['jobId']}/text").strip()
    batch = json.loads(stack.kubectl("get", "lj", "twenty-places", "-o", "json"))["status"]
    assert batch["progress"] == "20/20"
    lines = [json.loads(x) for x in fetch(gateway + batch["resultRef"]["path"]).splitlines()]
    texts = [line["response"]["body"]["choices"][0]["text"] for line in lines]
    assert len(texts) == 20
    assert all(text.strip() for text in texts)

    view = json.loads(fetch(f"{gateway}/jobs/{answer['id']}?wait=60"))
    assert view["state"] == "Succeeded"
    assert fetch(f"{gateway}/jobs/{answer['id']}/text").strip()

    wait_for_replicas(stack, 0)
    deployment = json.loads(stack.kubectl("get", "deploy", f"{pool}-workers", "-o", "json"))
    assert deployment["spec"]["replicas"] == 0


def test_a_job_on_a_pool_at_zero_scales_its_deployment_within_a_second(
    stack: LocalStack, pool: str
) -> None:
    wait_for_replicas(stack, 0)
    state = stack.status()
    watch = subprocess.Popen(
        [
            state["kubectl"], "--kubeconfig", state["kubeconfig"], "get", "deploy",
            f"{pool}-workers", "--watch", "-o", "jsonpath={.spec.replicas}{'\\n'}",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    assert watch.stdout.readline().strip() == "0"  # it watches
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    answer = json.loads(fetch(f"{state['gateway_url']}/jobs", {"body": body}))
    started_s = time.monotonic()
    try:
        while watch.stdout.readline().strip() == "0":
            pass
        took_s = time.monotonic() - started_s
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()
    assert took_s < 1.0, f"{took_s:.2f} s"
    view = json.loads(fetch(f"{state['gateway_url']}/jobs/{answer['id']}?wait=60"))
    assert view["state"] == "Succeeded"


def test_a_durable_job_by_http_is_an_llmjob_with_the_same_id(stack: LocalStack, pool: str) -> None:
    gateway = stack.status()["gateway_url"]
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    answer = json.loads(fetch(f"{gateway}/jobs", {"body": body, "durable": True}))
    name = f"lj/{answer['resource']}"
    stack.kubectl("wait", name, "--for=condition=Complete", "--timeout=90s")
    status = json.loads(stack.kubectl("get", name, "-o", "json"))["status"]
    assert status["jobId"] == answer["id"]
    assert fetch(f"{gateway}/jobs/{answer['id']}/text").strip()


def test_the_exporter_tells_what_was_done(stack: LocalStack, pool: str) -> None:
    text = fetch(stack.status()["exporter_url"]).decode()
    assert "llmjobs_store_up 1.0" in text
    assert f'llmjobs_pool_requests_running{{pool="default/{pool}"}}' in text
