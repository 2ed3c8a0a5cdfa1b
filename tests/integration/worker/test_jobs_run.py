"""A real worker process runs what is in a real store on the scripted engine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine import Kind, ScriptedEngine
from llmjobs_testing.engine_script import Seen
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import (
    POOL,
    fetch_answer,
    fetch_watched_text,
    make_body,
    parse_content,
    submit,
    submit_batch,
    wait_state,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


async def test_a_job_completes_with_the_exact_text(
    store: JobStore, make_worker: MakeWorker
) -> None:
    job_id = await submit(store, make_body(tokens=40))
    async with make_worker("a"):
        job = await wait_state(store, job_id)
    assert job.state is JobState.SUCCEEDED
    answer = await fetch_answer(store, job_id)
    assert answer["object"] == "chat.completion"
    choice = answer["choices"][0]
    assert choice["message"]["content"] == build_text(40)
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 41
    assert (job.usage.prompt_tokens, job.usage.completion_tokens) == (3, 41)
    assert await fetch_watched_text(store, job_id) == (build_text(40), 0)


async def test_64_jobs_run_side_by_side(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    bodies = [make_body(tokens=8, seed=i, script={"stall_at": 4}) for i in range(64)]
    job_ids = [await submit(store, body) for body in bodies]
    async with make_worker("a", concurrency="64"):
        await eventually(lambda: engine.stalled_streams == 64, what="64 open streams")
        engine.resume()
        for job_id in job_ids:
            assert (await wait_state(store, job_id)).state is JobState.SUCCEEDED
    for seed, job_id in enumerate(job_ids):
        (result,) = await store.fetch_results(job_id)
        assert parse_content(result) == build_text(8, seed)


async def test_a_batch_runs_within_the_slots_and_every_line_has_its_text(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    count = 100
    job_id = await submit_batch(store, [make_body(tokens=5, seed=i) for i in range(count)])
    async with make_worker("a", concurrency="8"):
        job = await wait_state(store, job_id)
    assert job.state is JobState.SUCCEEDED
    assert job.counts.succeeded == count
    results = await store.fetch_results(job_id, 0, count)
    assert [parse_content(result) for result in results] == [build_text(5, i) for i in range(count)]
    assert len(engine.seen) == count
    assert count_overlap(engine.seen) <= 8


def count_overlap(requests: list[Seen]) -> int:
    """Return how many requests were open at once at most."""
    edges = [(seen.opened_s, 1) for seen in requests]
    edges += [(seen.closed_s or 0.0, -1) for seen in requests]
    now, most = 0, 0
    for _, change in sorted(edges):
        now += change
        most = max(most, now)
    return most


async def test_an_embedding_job_has_the_engines_own_answer(
    store: JobStore, make_worker: MakeWorker
) -> None:
    body = {"model": "scripted", "input": ["one two", "three"]}
    job_id = await submit(store, body, endpoint="/v1/embeddings")
    async with make_worker("a"):
        job = await wait_state(store, job_id)
    assert (job.state, job.usage.prompt_tokens) == (JobState.SUCCEEDED, 3)
    assert len((await fetch_answer(store, job_id))["data"]) == 2


async def test_an_answer_that_comes_in_many_reads_is_whole(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    inputs = [f"line {number}" for number in range(20_000)]  # an answer of 1.2 MB
    body = {"model": "scripted", "input": inputs}
    job_id = await submit(store, body, endpoint="/v1/embeddings")
    async with make_worker("a"):
        job = await wait_state(store, job_id)
    assert job.state is JobState.SUCCEEDED
    assert len((await fetch_answer(store, job_id))["data"]) == len(inputs)
    assert len(engine.seen) == 1


async def test_a_completion_has_openais_shape(store: JobStore, make_worker: MakeWorker) -> None:
    body = {"model": "scripted", "prompt": "go on", "max_tokens": 3}
    job_id = await submit(store, body, endpoint="/v1/completions")
    async with make_worker("a"):
        await wait_state(store, job_id)
    answer = await fetch_answer(store, job_id)
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"] == build_text(3)
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("kind", ["llamacpp", "external"])
async def test_engines_that_only_speak_openai_are_sent_nothing_else(
    valkey_url: str, store: JobStore, tmp_path: Path, kind: Kind
) -> None:
    async with (
        ScriptedEngine(kind=kind, api_key="sk-engine") as engine,
        WorkerProcess(
            valkey_url, engine.url, tmp_path / "a.log", pool=str(POOL), engine_api_key="sk-engine"
        ) as worker,
    ):
        job_id = await submit(store, make_body(tokens=4))
        assert (await wait_state(store, job_id)).state is JobState.SUCCEEDED
        assert "return_token_ids" not in engine.seen[0].body
        assert "sk-engine" not in worker.log.read_text()
    assert (await fetch_answer(store, job_id))["usage"]["completion_tokens"] == 5


async def test_prompts_and_answers_stay_out_of_logs(
    store: JobStore, make_worker: MakeWorker
) -> None:
    messages = [{"role": "user", "content": "the-secret-prompt"}]
    jobs = [
        await submit(store, {**make_body(), "messages": messages}),
        await submit(store, {**make_body(script={"status": 400}), "messages": messages}),
        await submit(store, {"messages": messages, "script": {"tokens": "the-secret-prompt"}}),
    ]
    async with make_worker("a", log_level="debug") as worker:
        for job_id in jobs:
            await wait_state(store, job_id)
    log = worker.log.read_text()
    assert "the-secret-prompt" not in log
    assert "t0 t1" not in log
