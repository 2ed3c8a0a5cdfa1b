"""A worker outlives its Redis: nothing stays deaf, nothing runs again, no text doubles."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest
import redis

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import (
    fetch_watched_text,
    make_body,
    parse_content,
    submit,
    submit_batch,
    wait_state,
    wait_tokens,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


@pytest.fixture
def valkey_url(valkey: Valkey) -> str:
    return valkey.url


async def crash(valkey: Valkey, *, down_s: float) -> None:
    """Kill it and start it again on its append-only file."""
    valkey.kill()
    await valkey.wait()
    await asyncio.sleep(down_s)
    await valkey.start()


async def test_an_idle_worker_hears_again_after_each_restart(
    valkey: Valkey, store: JobStore, make_worker: MakeWorker
) -> None:
    async with make_worker("a") as worker:
        await worker.wait_logged("engine_healthy")
        for down_s in (0.2, 2.0, 0.2):
            await crash(valkey, down_s=down_s)
            job_id = await submit(store)
            job = await wait_state(store, job_id, timeout_s=90)
            assert job.state is JobState.SUCCEEDED


@pytest.mark.parametrize("down_s", [0.0, 5.0])
async def test_running_requests_go_on_through_a_restart(
    valkey: Valkey, store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker, down_s: float
) -> None:
    async with make_worker("a"), make_worker("b"):
        job_id = await submit(store, make_body(tokens=900, script={"rate": 100}))
        await wait_tokens(store, job_id, 100)
        await crash(valkey, down_s=down_s)
        job = await wait_state(store, job_id, timeout_s=90)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
    assert len(engine.seen) == 1
    (result,) = await store.fetch_results(job_id)
    assert parse_content(result) == build_text(900)
    text, _ = await fetch_watched_text(store, job_id)
    assert text == build_text(900)


async def test_a_batch_runs_no_line_again_when_redis_is_away(
    valkey: Valkey, store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    count = 200
    bodies = [make_body(tokens=20, seed=i, script={"rate": 20}) for i in range(count)]
    job_id = await submit_batch(store, bodies)
    async with make_worker("a", concurrency="32"):
        await eventually(lambda: len(engine.seen) > 40, what="40 lines at the engine")
        await crash(valkey, down_s=5)
        job = await wait_state(store, job_id, timeout_s=120)
    assert (job.state, job.counts.succeeded) == (JobState.SUCCEEDED, count)
    results = await store.fetch_results(job_id, 0, count)
    assert [parse_content(r) for r in results] == [build_text(20, i) for i in range(count)]
    assert len(engine.seen) == count


async def test_a_frozen_redis_doubles_no_text(
    valkey: Valkey, store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    async with make_worker("a"):
        job_id = await submit(store, make_body(tokens=900, script={"rate": 100}))
        await wait_tokens(store, job_id, 50)
        for _ in range(2):
            os.kill(valkey.pid, signal.SIGSTOP)
            await asyncio.sleep(3.5)  # longer than a call waits, shorter than a lease
            os.kill(valkey.pid, signal.SIGCONT)
            await asyncio.sleep(0.5)
        job = await wait_state(store, job_id, timeout_s=90)
    assert job.state is JobState.SUCCEEDED
    assert await fetch_watched_text(store, job_id) == (build_text(900), 0)
    assert await store.fetch_text(job_id) == build_text(900)
    assert len(engine.seen) == 1


async def test_cut_connections_run_nothing_twice(
    valkey: Valkey, store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    async with make_worker("a") as worker:
        await worker.wait_logged("engine_healthy")
        job_ids = [
            await submit(store, make_body(tokens=200, seed=i, script={"rate": 50}))
            for i in range(4)
        ]
        with redis.Redis.from_url(valkey.url) as client:
            for _ in range(4):
                client.client_kill_filter(_type="normal", skipme=True)
                await asyncio.sleep(0.7)
        job_ids.append(await submit(store))
        for job_id in job_ids:
            assert (await wait_state(store, job_id, timeout_s=90)).state is JobState.SUCCEEDED
    assert len(engine.seen) == 5
    for seed, job_id in enumerate(job_ids[:4]):
        assert await fetch_watched_text(store, job_id) == (build_text(200, seed), 0)
