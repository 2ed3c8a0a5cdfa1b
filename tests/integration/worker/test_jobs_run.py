"""A real worker process runs what is in a real store on the scripted engine."""

from collections.abc import Callable

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.worker_jobs import (
    fetch_answer,
    fetch_watched_text,
    make_body,
    submit,
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
