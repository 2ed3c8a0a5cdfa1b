"""A worker is killed in the middle of a real generation, and its reader notices nothing."""

import json

import pytest

from llmjobs_testing.kubectl import ROOT
from llmjobs_testing.local_stack import START_TIMEOUT_S, LocalStack, fetch, read_events

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(START_TIMEOUT_S)]

TOKENS = 300


def test_a_killed_generation_goes_on_from_its_last_token_in_one_stream(stack: LocalStack) -> None:
    stack.kubectl("apply", "-f", str(ROOT / "manifests" / "examples" / "pool-llama.yaml"))
    stack.kubectl("wait", "lwp/small", "--for=condition=Ready", "--timeout=60s")
    gateway = stack.status()["gateway_url"]
    body = {
        "model": "gemma-3-270m",
        "prompt": "A long story about a whale. Chapter one.",
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "temperature": 0,
    }
    request = {"endpoint": "/v1/completions", "body": body}
    job_id = json.loads(fetch(f"{gateway}/jobs", request))["id"]
    text, kinds, killed = "", [], False
    for kind, data in read_events(gateway, job_id):
        kinds.append(kind)
        if kind != "delta":
            continue
        text += data["text"]
        if not killed and data["tokens"] >= TOKENS // 10:
            pods = ["pods", "-l", "llmjobs.dev/pool=small"]
            stack.kubectl("delete", *pods, "--force", "--grace-period=0")
            killed = True
    assert kinds.count("reset") == 0
    assert (kinds[-1], kinds.count("done")) == ("done", 1)
    view = json.loads(fetch(f"{gateway}/jobs/{job_id}"))
    assert (view["state"], view["usage"]["completionTokens"]) == ("Succeeded", TOKENS)
    assert view["attempts"] == 2, "it was not killed in the middle"
    assert fetch(f"{gateway}/jobs/{job_id}/text").decode() == text
