"""On a real vLLM, a killed worker's answer ends as vLLM's own to a request never interrupted."""

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.vllm_server import MODEL, VLLMServer
from llmjobs_testing.waiting import eventually_async
from llmjobs_testing.worker_jobs import (
    fetch_answer,
    fetch_watched_text,
    submit,
    wait_state,
    wait_tokens,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[[str], WorkerProcess]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
LENGTH = 1500
BODY: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "tell me a story of a long job"}],
    "temperature": 0,
    "max_tokens": LENGTH,
    "ignore_eos": True,
    "return_token_ids": True,
}
COMPLETION = {
    **{k: v for k, v in BODY.items() if k != "messages"},
    "prompt": "the quick brown fox",
}


async def run_killed(
    store: JobStore,
    make_worker: MakeWorker,
    path: str,
    body: dict[str, Any],
    kills: tuple[int, ...],
) -> tuple[dict[str, Any], str]:
    """Return a job's answer, and the text its watcher saw.

    A worker is killed for each of *kills*, when it has generated so many tokens or some more.
    """
    job_id = await submit(store, body, endpoint=path, model=MODEL)
    for i, tokens in enumerate(kills):
        before = (await store.fetch(job_id)).tokens
        async with make_worker(f"killed-{i}") as worker:
            await wait_tokens(store, job_id, before + tokens)
            assert (await store.fetch(job_id)).state is JobState.RUNNING
            worker.send(signal.SIGKILL)
            await worker.wait_ended()
    async with make_worker("last"):
        job = await wait_state(store, job_id)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, len(kills) + 1)
    watched, resets = await fetch_watched_text(store, job_id)
    assert resets == 0
    return await fetch_answer(store, job_id), watched


def tell(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what a client reads of an answer with one choice."""
    (choice,) = answer["choices"]
    usage = answer["usage"]
    return {
        "text": choice["message"]["content"] if "message" in choice else choice["text"],
        "token_ids": choice["token_ids"],
        "prompt": answer.get("prompt_token_ids") or choice.get("prompt_token_ids"),
        "end": (choice["finish_reason"], choice.get("stop_reason")),
        "usage": (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]),
    }


@pytest.mark.parametrize(
    ("path", "body"), [(CHAT, BODY), (COMPLETIONS, COMPLETION)], ids=["chat", "completion"]
)
async def test_two_kills_leave_identical_token_ids(
    vllm: VLLMServer, store: JobStore, make_worker: MakeWorker, path: str, body: dict[str, Any]
) -> None:
    whole = tell(await vllm.fetch_answer(path, body))
    assert len(whole["token_ids"]) == LENGTH
    answer, watched = await run_killed(store, make_worker, path, body, (200, 200))
    assert tell(answer) == whole
    assert watched == whole["text"]


@pytest.mark.parametrize("included", [False, True])
async def test_a_stop_string_behind_the_cut_ends_the_answer_as_in_vllm(
    vllm: VLLMServer, store: JobStore, make_worker: MakeWorker, included: bool
) -> None:
    """The stop string is one that the model says late and for the first time: nine characters."""
    text = tell(await vllm.fetch_answer(CHAT, BODY))["text"]
    late = range(len(text) * 3 // 4, len(text) - 9)
    stop = next(text[i : i + 9] for i in late if text.find(text[i : i + 9]) == i)
    body = {**BODY, "stop": [stop, "never said"], "include_stop_str_in_output": included}
    whole = tell(await vllm.fetch_answer(CHAT, body))
    assert whole["end"] == ("stop", stop)
    answer, watched = await run_killed(store, make_worker, CHAT, body, (200,))
    assert tell(answer) == whole
    assert watched == whole["text"]


async def test_min_tokens_counts_over_the_cut_as_in_vllm(
    vllm: VLLMServer, store: JobStore, make_worker: MakeWorker
) -> None:
    body = {**BODY, "stop": " job", "min_tokens": 900}
    whole = tell(await vllm.fetch_answer(CHAT, body))
    assert 900 < whole["usage"][1] < LENGTH
    answer, watched = await run_killed(store, make_worker, CHAT, body, (200,))
    assert tell(answer) == whole
    assert watched == whole["text"]


async def test_a_cancelled_job_is_gone_from_vllm_within_a_second(
    vllm: VLLMServer, store: JobStore, make_worker: MakeWorker
) -> None:
    async with make_worker("a"):
        job_id = await submit(store, {**BODY, "max_tokens": 1900}, endpoint=CHAT, model=MODEL)
        await wait_tokens(store, job_id, 50)
        assert await vllm.fetch_running() == 1
        cancelled_s = time.monotonic()
        assert await store.cancel(job_id) is JobState.CANCELLED

        async def is_idle() -> bool:
            return await vllm.fetch_running() == 0

        await eventually_async(is_idle, what="vLLM runs nothing")
        assert time.monotonic() - cancelled_s < 1.0
    assert (await store.fetch(job_id)).tokens < 1900
