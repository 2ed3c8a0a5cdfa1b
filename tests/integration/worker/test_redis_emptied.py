"""An emptied Redis (FLUSHALL): workers stop what nobody owns, are counted again, and hear."""

import time
from collections.abc import Callable

import pytest

from llmjobs_core.pools import PoolRegistration
from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.waiting import eventually, eventually_async
from llmjobs_testing.worker_jobs import (
    POOL,
    fetch_watched_text,
    make_body,
    submit,
    wait_state,
    wait_tokens,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


@pytest.fixture
def valkey_url(valkey: Valkey) -> str:
    return valkey.url


async def test_a_worker_stops_what_is_gone_and_takes_what_comes(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    async with make_worker("a", concurrency="4"):
        streaming = await submit(store, make_body(tokens=9000, script={"rate": 50}))
        await submit(store, make_body(script={"delay_s": 600}))
        await wait_tokens(store, streaming, 10)
        await eventually(lambda: engine.open_streams == 2, what="both at the engine")
        emptied_s = time.time()
        await store.client.flushall()
        await store.client.script_flush()
        await eventually(lambda: engine.open_streams == 0, what="both requests closed")
        took_s = max(seen.closed_s or 0 for seen in engine.aborted) - emptied_s
        assert took_s < 2, f"{took_s:.2f} s"
        # As the operator does when it finds the pool missing.
        await store.put_pool(PoolRegistration(key=POOL, models=("scripted",), concurrency=4))

        async def is_counted() -> bool:
            return (await store.fetch_pool(POOL)).slots == 4

        await eventually_async(is_counted, what="the worker's slots in the pool")
        job_id = await submit(store, make_body(tokens=20))
        assert (await wait_state(store, job_id, timeout_s=20)).state is JobState.SUCCEEDED
        assert await fetch_watched_text(store, job_id) == (build_text(20), 0)


async def test_the_same_job_given_again_runs_from_its_start(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    """As an LLMJob is, whose id does not change; nothing of its first run may get into it."""
    async with make_worker("a"):
        body = make_body(tokens=200, script={"rate": 100})
        job_id = await submit(store, body)
        await wait_tokens(store, job_id, 50)
        await store.client.flushall()
        await store.put_pool(PoolRegistration(key=POOL, models=("scripted",), concurrency=8))
        assert await submit(store, body, id=job_id) == job_id
        assert (await wait_state(store, job_id)).state is JobState.SUCCEEDED
    assert await fetch_watched_text(store, job_id) == (build_text(200), 0)
    assert engine.seen[-1].start == 0
