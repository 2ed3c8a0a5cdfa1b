"""A killed worker's answer goes on at another: the same text, counted once, seen once."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine import Kind, ScriptedEngine
from llmjobs_testing.engine_text import FIRST_GENERATED_ID, build_text
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import (
    POOL,
    fetch_answer,
    fetch_watched_text,
    make_body,
    submit,
    wait_state,
    wait_tokens,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


async def kill_at(
    store: JobStore, make_worker: MakeWorker, job_id: str, name: str, tokens: int
) -> None:
    """Let a worker of its own generate until *tokens* are written down, and kill it."""
    async with make_worker(name) as worker:
        await wait_tokens(store, job_id, tokens)
        worker.send(signal.SIGKILL)
        await worker.wait_ended()


async def test_sigkill_at_90_percent_generates_at_most_a_hundredth_again(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    count = 4000
    body = make_body(tokens=2 * count, max_tokens=count, script={"rate": 500})
    job_id = await submit(store, body)
    await kill_at(store, make_worker, job_id, "a", count * 9 // 10)
    async with make_worker("b"):
        job = await wait_state(store, job_id)
    assert job.state is JobState.SUCCEEDED
    again = sum(seen.sent for seen in engine.seen) - count
    assert 0 <= again <= count // 100, f"{again} tokens were generated again"
    answer = await fetch_answer(store, job_id)
    assert answer["choices"][0]["message"]["content"] == build_text(count)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"] == {
        "prompt_tokens": 3, "completion_tokens": count, "total_tokens": count + 3
    }  # fmt: skip
    assert job.usage.regenerated_tokens == 0
    assert await fetch_watched_text(store, job_id) == (build_text(count), 0)


@pytest.mark.parametrize("kind", ["vllm", "llamacpp"])
async def test_two_kills_in_a_row_leave_a_stop_string_to_be_found(
    valkey_url: str, store: JobStore, tmp_path: Path, kind: Kind
) -> None:
    """The stop string is longer than a token, and the second kill comes while it is held back."""
    text = build_text(200).partition("t160 t161")[0]
    stall = {"stall_at": 161, "times": 1, "key": "a", "rate": 200}
    async with ScriptedEngine(kind=kind) as engine:

        def make(name: str) -> WorkerProcess:
            log = tmp_path / f"{name}.log"
            return WorkerProcess(valkey_url, engine.url, log, pool=str(POOL))

        body = make_body(tokens=400, stop=["t160 t161", "never"], script=stall, max_tokens=300)
        job_id = await submit(store, body)
        await kill_at(store, make, job_id, "a", 60)
        await kill_at(store, make, job_id, "b", 160)
        async with make("c"):
            job = await wait_state(store, job_id)
        aborted_s = engine.seen[-1]
        await eventually(lambda: not engine.open_streams, what="the engine is told to stop")
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 3)
    answer = await fetch_answer(store, job_id)
    choice = answer["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, "stop")
    assert choice["stop_reason"] == "t160 t161"
    assert answer["usage"]["completion_tokens"] == 162
    assert await fetch_watched_text(store, job_id) == (text, 0)
    assert [seen.start > 0 for seen in engine.seen] == [False, True, True]
    assert aborted_s.outcome == "aborted"


async def test_an_engine_that_can_not_continue_resets_once_and_tells_what_was_void(
    valkey_url: str, store: JobStore, tmp_path: Path
) -> None:
    async with ScriptedEngine(kind="external") as engine:

        def make(name: str) -> WorkerProcess:
            log = tmp_path / f"{name}.log"
            return WorkerProcess(valkey_url, engine.url, log, pool=str(POOL))

        job_id = await submit(store, make_body(tokens=200, script={"rate": 100}))
        await kill_at(store, make, job_id, "a", 50)
        void = (await store.fetch(job_id)).tokens
        async with make("b"):
            job = await wait_state(store, job_id)
    assert job.state is JobState.SUCCEEDED
    assert (job.usage.completion_tokens, job.usage.regenerated_tokens) == (201, void)
    assert await fetch_watched_text(store, job_id) == (build_text(200), 1)


async def test_a_client_that_asks_for_ids_gets_all_of_them(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    job_id = await submit(
        store, make_body(tokens=80, script={"rate": 100}, return_token_ids=True, max_tokens=70)
    )
    await kill_at(store, make_worker, job_id, "a", 30)
    async with make_worker("b"):
        await wait_state(store, job_id)
    answer: dict[str, Any] = await fetch_answer(store, job_id)
    assert answer["choices"][0]["token_ids"] == [FIRST_GENERATED_ID + i for i in range(70)]
    assert len(answer["prompt_token_ids"]) == 3


async def test_reasoning_that_was_cut_starts_again(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    """Its tokens count as progress, so that they are told as generated again."""
    script = {"rate": 100, "reasoning": 60}
    job_id = await submit(store, make_body(tokens=100, script=script))
    await kill_at(store, make_worker, job_id, "a", 20)
    void = (await store.fetch(job_id)).tokens
    async with make_worker("b"):
        job = await wait_state(store, job_id)
    message = (await fetch_answer(store, job_id))["choices"][0]["message"]
    assert message["reasoning"] == build_text(60)
    assert message["reasoning"] + message["content"] == build_text(100)
    assert job.usage.regenerated_tokens == void
    assert await fetch_watched_text(store, job_id) == (message["content"], 1)
