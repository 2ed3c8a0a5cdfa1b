"""A full Redis refuses new jobs and nothing else: what was accepted runs to its end."""

from collections.abc import Callable

import pytest
import redis

from llmjobs_core.errors import StoreFull
from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import (
    fetch_watched_text,
    make_body,
    make_job,
    submit,
    wait_state,
    wait_tokens,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


@pytest.fixture
def valkey_url(valkey: Valkey) -> str:
    return valkey.url


def set_memory(valkey: Valkey, limit: str) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory", limit)


async def test_running_and_queued_jobs_finish(
    valkey: Valkey, store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    async with make_worker("a", concurrency="2") as worker:
        running = [
            await submit(store, make_body(tokens=300, seed=i, script={"rate": 100}))
            for i in range(2)
        ]
        for job_id in running:
            await wait_tokens(store, job_id, 20)
        queued = [await submit(store, make_body(tokens=30, seed=i)) for i in range(2, 12)]
        set_memory(valkey, "1mb")
        with pytest.raises(StoreFull):
            await store.submit(make_job())
        for seed, job_id in enumerate([*running, *queued]):
            job = await wait_state(store, job_id)
            assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
            tokens = 300 if seed < 2 else 30
            assert await fetch_watched_text(store, job_id) == (build_text(tokens, seed), 0)
        set_memory(valkey, "0")
        after = await submit(store)
        assert (await wait_state(store, after)).state is JobState.SUCCEEDED
        assert worker.process.returncode is None
    assert len(engine.seen) == 13


async def test_a_worker_that_connects_anew_hears_again(
    valkey: Valkey, store: JobStore, make_worker: MakeWorker
) -> None:
    """Celery writes when it connects, and is refused; the messages must be heard afterwards."""
    async with make_worker("a") as worker:
        await worker.wait_logged("engine_healthy")
        job_id = await submit(store, make_body(tokens=50, script={"rate": 50}))
        await wait_tokens(store, job_id, 5)
        set_memory(valkey, "1mb")
        with redis.Redis.from_url(valkey.url) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        assert (await wait_state(store, job_id)).state is JobState.SUCCEEDED
        set_memory(valkey, "0")
        after = await submit(store)
        assert (await wait_state(store, after, timeout_s=20)).state is JobState.SUCCEEDED
        assert worker.process.returncode is None


async def test_a_cancel_reaches_the_engine_and_a_lost_lease_is_found(
    valkey: Valkey, store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    async with make_worker("a", concurrency="2") as first:
        cancelled = await submit(store, make_body(script={"stall_at": 3}))
        moved = await submit(store, make_body(tokens=300, script={"rate": 50}))
        await wait_tokens(store, cancelled, 3)
        await wait_tokens(store, moved, 20)
        set_memory(valkey, "1mb")
        assert await store.cancel(cancelled) is JobState.CANCELLED
        await eventually(lambda: len(engine.aborted) == 1, what="the request closed")
        async with make_worker("b") as second:
            await second.wait_logged("engine_healthy")
            first.process.kill()
            job = await wait_state(store, moved)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 2)
    assert await fetch_watched_text(store, moved) == (build_text(300), 0)
