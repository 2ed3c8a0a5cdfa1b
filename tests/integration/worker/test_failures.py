"""What fails at the engine is tried again when that can help, and only then."""

import json
from collections.abc import Callable

from llmjobs_core.states import JobReason, JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.worker_jobs import (
    fetch_answer,
    fetch_watched_text,
    make_body,
    parse_content,
    submit,
    wait_state,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


async def test_a_429_is_tried_again_after_what_it_asks_for(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    script = {"status": 429, "retry_after": "1", "times": 1, "key": "k"}
    job_id = await submit(store, make_body(script=script))
    async with make_worker("a"):
        job = await wait_state(store, job_id)
    assert (job.state, job.counts.retried) == (JobState.SUCCEEDED, 1)
    first, second = engine.seen
    assert second.opened_s - (first.closed_s or 0) >= 1.0


async def test_a_400_is_never_tried_again(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    job_id = await submit(store, make_body(script={"status": 400}))
    async with make_worker("a"):
        job = await wait_state(store, job_id)
    assert (job.state, job.reason) == (JobState.FAILED, JobReason.REQUEST_FAILED)
    assert job.error is not None
    assert job.error.message == "scripted refusal"
    assert len(engine.seen) == 1
    (result,) = await store.fetch_results(job_id)
    assert result is not None
    assert (result.status_code, result.ok) == (400, False)
    assert json.loads(result.body)["error"]["message"] == "scripted refusal"


async def test_failures_end_at_the_backoff_limit(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    job_id = await submit(store, make_body(script={"status": 503}), backoff_limit=2)
    async with make_worker("a"):
        job = await wait_state(store, job_id)
    assert (job.state, job.reason) == (JobState.FAILED, JobReason.BACKOFF_LIMIT_EXCEEDED)
    assert len(engine.seen) == 3


async def test_a_cut_stream_continues_from_its_last_token(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    script = {"disconnect_at": 31, "times": 1, "key": "k"}
    job_id = await submit(store, make_body(tokens=60, script=script, max_tokens=50))
    async with make_worker("a"):
        job = await wait_state(store, job_id)
    assert job.state is JobState.SUCCEEDED
    # Token 30 is half a character: the checkpoint was cut back to the one before.
    assert [seen.start for seen in engine.seen] == [0, 30]
    assert engine.seen[1].path == "/v1/completions"
    answer = await fetch_answer(store, job_id)
    assert answer["choices"][0]["message"]["content"] == build_text(50)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 50, "total_tokens": 53}
    assert await fetch_watched_text(store, job_id) == (build_text(50), 0)


async def test_an_error_in_a_stream_continues_as_well(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    job_id = await submit(store, make_body(tokens=20, script={"fail_at": 7, "times": 1}))
    async with make_worker("a"):
        job = await wait_state(store, job_id)
    assert job.state is JobState.SUCCEEDED
    assert [seen.start for seen in engine.seen] == [0, 7]
    (result,) = await store.fetch_results(job_id)
    assert parse_content(result) == build_text(20)


async def test_what_has_no_prefix_starts_again_and_says_so(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    body = make_body(tokens=20, script={"fail_at": 7, "times": 1}, logprobs=True)
    job_id = await submit(store, body)
    async with make_worker("a"):
        job = await wait_state(store, job_id)
    assert [seen.start for seen in engine.seen] == [0, 0]
    assert job.usage.regenerated_tokens == 7
    assert await fetch_watched_text(store, job_id) == (build_text(20), 1)
    choice = (await fetch_answer(store, job_id))["choices"][0]
    assert len(choice["logprobs"]["content"]) == 21


async def test_stop_strings_hold_over_a_continuation(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    script = {"fail_at": 7, "times": 1}
    job_id = await submit(store, make_body(tokens=40, script=script, stop=["t11 t12"]))
    async with make_worker("a"):
        await wait_state(store, job_id)
    (result,) = await store.fetch_results(job_id)
    assert parse_content(result) == build_text(11)
    assert len(engine.seen) == 2
