"""A real vLLM, on the node's CPUs and with a tiny random model, as a pool's engine."""

from collections.abc import Iterator
from typing import Any

import pytest

from llmjobs_chaos.load import Clients
from llmjobs_e2e.image_builds import build_archives, find_vllm
from llmjobs_e2e.pools import delete_pool, install_pool
from llmjobs_e2e.target import Target

POOL = "tiny"
TOKENS = 40


def build_values(target: Target) -> dict[str, Any]:
    """Return charts/llmjobs-pool's values, without a GPU."""
    args = ["--served-model-name=tiny", "--enforce-eager", "--dtype=bfloat16"]
    return {
        "spec": {
            "models": ["tiny"],
            "engine": {
                "vllm": {
                    "image": target.images.vllm,
                    "model": "/models/tiny",
                    "args": [*args, "--max-model-len=2048"],
                    "startupSeconds": 240,
                }
            },
            "concurrency": 4,
            "scaling": {"minReplicas": 1, "maxReplicas": 1},
        },
        "sharedMemory": {"size": "1Gi"},
        "modelCache": {"type": "none"},
    }


@pytest.fixture(scope="module")
def tiny(target: Target, team: str) -> Iterator[str]:
    """The pool, its worker ready."""
    if target.own is None:
        pytest.skip("its image has 5 GB and is in no registry")
    target.own.add_images(build_archives(print, [find_vllm()]))
    install_pool(target, POOL, team, build_values(target), ready=False)
    target.kubectl(
        "-n", team, "wait", f"lwp/{POOL}", "--for=jsonpath={.status.readyReplicas}=1",
        "--timeout=150s",
    )  # fmt: skip
    yield POOL
    delete_pool(target, POOL, team)


async def test_an_llmjob_is_generated_token_by_token(
    target: Target, team: str, tiny: str, clients: Clients
) -> None:
    job = {
        "apiVersion": "llmjobs.dev/v1alpha1",
        "kind": "LLMJob",
        "metadata": {"name": "real"},
        "spec": {
            "model": "tiny",
            "request": {
                "endpoint": "/v1/completions",
                "body": {
                    "prompt": "tell me a story", "max_tokens": TOKENS, "temperature": 0,
                    "ignore_eos": True,
                },
            },
        },
    }  # fmt: skip
    target.apply(job, namespace=team)
    target.kubectl("-n", team, "wait", "lj/real", "--for=condition=Complete", "--timeout=120s")
    view = await clients.fetch_job(target.get("lj", "real", team)["status"]["jobId"])
    answer = await clients.fetch_result(view["id"])
    assert answer["usage"]["completion_tokens"] == TOKENS
    assert answer["choices"][0]["finish_reason"] == "length"
    target.kubectl("-n", team, "delete", "lj", "real")
