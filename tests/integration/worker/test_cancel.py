"""A cancelled job's request is closed at the engine within a second."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import make_body, submit, wait_state, wait_tokens
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


@pytest.mark.parametrize(
    "script",
    [{"rate": 50, "tokens": 5000}, {"stall_at": 3}, {"delay_s": 60}],
    ids=["streaming", "stalled", "prefill"],
)
async def test_a_cancel_closes_the_engines_request(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker, script: dict[str, Any]
) -> None:
    job_id = await submit(store, make_body(script=script))
    async with make_worker("a") as worker:
        await eventually(lambda: engine.open_streams == 1, what="the request at the engine")
        cancelled_s = time.time()
        assert await store.cancel(job_id) is JobState.CANCELLED
        await eventually(lambda: engine.open_streams == 0, what="the request closed")
        (aborted,) = engine.aborted
        took_s = (aborted.closed_s or 0) - cancelled_s
        assert took_s < 1.0, f"{took_s:.2f} s"
        await worker.wait_logged("request_aborted")
    assert (await store.fetch(job_id)).state is JobState.CANCELLED


async def test_a_suspended_job_goes_on_where_it_was(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    job_id = await submit(store, make_body(tokens=12, script={"stall_at": 5, "times": 1}))
    async with make_worker("a"):
        await wait_tokens(store, job_id, 5)
        assert await store.suspend(job_id) is JobState.SUSPENDED
        await eventually(lambda: engine.open_streams == 0, what="the request closed")
        await store.resume(job_id)
        assert (await wait_state(store, job_id)).state is JobState.SUCCEEDED
    assert [seen.start for seen in engine.seen] == [0, 5]
