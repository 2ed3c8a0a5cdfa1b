"""Work moves to another worker when its own leaves, dies, or loses its engine."""

import asyncio
import signal
import time
from collections.abc import Callable

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.engine_process import EngineProcess
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
    wait_tokens,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


async def test_sigterm_hands_back_and_another_worker_continues(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    bodies = [make_body(tokens=900, seed=i, script={"rate": 100}) for i in range(8)]
    async with make_worker("a") as first:
        job_ids = [await submit(store, body) for body in bodies]
        for job_id in job_ids:
            await wait_tokens(store, job_id, 30)
        async with make_worker("b") as second:
            await second.wait_logged("engine_healthy")
            left_s = time.monotonic()
            first.send(signal.SIGTERM)
            assert await first.wait_ended() == 0
            assert time.monotonic() - left_s < 10
            for job_id in job_ids:
                await wait_state(store, job_id)
    for seed, job_id in enumerate(job_ids):
        job = await store.fetch(job_id)
        assert (job.state, job.attempts) == (JobState.SUCCEEDED, 2)
        (result,) = await store.fetch_results(job_id)
        assert parse_content(result) == build_text(900, seed)
        assert await fetch_watched_text(store, job_id) == (build_text(900, seed), 0)
    assert all(seen.start >= 29 for seen in engine.seen[8:])


async def test_sigkill_moves_work_when_the_lease_ends(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    async with make_worker("a") as first:
        body = make_body(tokens=1000, script={"rate": 100}, max_tokens=900)
        job_id = await submit(store, body)
        await wait_tokens(store, job_id, 50)
        async with make_worker("b") as second:
            await second.wait_logged("engine_healthy")
            killed_s = time.time()
            first.send(signal.SIGKILL)
            await eventually(lambda: len(engine.seen) == 2, what="the second request")
            took_s = engine.seen[1].opened_s - killed_s
            job = await wait_state(store, job_id)
    assert job.state is JobState.SUCCEEDED
    assert 3 < took_s < 10, f"{took_s:.1f} s"
    assert engine.seen[1].start > 49
    answer = await fetch_answer(store, job_id)
    assert answer["choices"][0]["message"]["content"] == build_text(900)
    assert answer["usage"]["completion_tokens"] == 900
    assert await fetch_watched_text(store, job_id) == (build_text(900), 0)


async def test_a_frozen_workers_late_writes_are_refused(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    async with make_worker("a") as first:
        job_id = await submit(store, make_body(tokens=900, script={"rate": 100}))
        await wait_tokens(store, job_id, 20)
        async with make_worker("b") as second:
            await second.wait_logged("engine_healthy")
            first.send(signal.SIGSTOP)
            await eventually(lambda: len(engine.seen) == 2, what="the second request")
            first.send(signal.SIGCONT)
            await first.wait_logged("request_aborted")
            job = await wait_state(store, job_id)
    assert job.state is JobState.SUCCEEDED
    assert await fetch_watched_text(store, job_id) == (build_text(900), 0)


async def test_a_batch_survives_its_workers_death(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    count = 60
    bodies = [make_body(tokens=20, seed=i, script={"rate": 100}) for i in range(count)]
    job_id = await submit_batch(store, bodies)
    async with make_worker("a") as first:
        await eventually(lambda: len(engine.seen) > 20, what="20 lines at the engine")
        first.send(signal.SIGKILL)
        async with make_worker("b"):
            job = await wait_state(store, job_id)
    assert (job.state, job.counts.succeeded) == (JobState.SUCCEEDED, count)
    results = await store.fetch_results(job_id, 0, count)
    assert [parse_content(r) for r in results] == [build_text(20, i) for i in range(count)]
    assert len(engine.seen) <= count + 8  # only what was in flight ran again


async def test_nothing_is_taken_before_the_engine_is_healthy(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    engine.healthy = False
    job_id = await submit(store)
    async with make_worker("a") as worker:
        await worker.wait_logged("worker_started")
        assert (await worker.probe("/readyz"))[0] == 503
        assert (await worker.probe("/healthz"))[0] == 200
        await asyncio.sleep(1)
        assert (await store.fetch_pool(POOL)).slots == 0
        assert (await store.fetch(job_id)).state is JobState.QUEUED
        engine.healthy = True
        assert (await wait_state(store, job_id)).state is JobState.SUCCEEDED
        assert (await worker.probe("/readyz"))[0] == 200


async def test_an_unhealthy_engines_work_is_handed_to_another(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    async with ScriptedEngine() as other, make_worker("a") as first:
        job_id = await submit(store, make_body(tokens=50, script={"stall_at": 20}))
        await wait_tokens(store, job_id, 20)
        engine.healthy = False
        await first.wait_logged("engine_unhealthy")
        async with make_worker("b", engine_url=other.url):
            await eventually(
                lambda: other.stalled_streams == 1, what="the request at the other engine"
            )
            other.resume()
            assert (await wait_state(store, job_id)).state is JobState.SUCCEEDED
        assert other.seen[0].start == 20
        assert [seen.outcome for seen in engine.seen] == ["aborted"]


async def test_a_hung_engines_work_goes_on_at_another_within_ten_seconds(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    async with EngineProcess() as hung, make_worker("a", engine_url=hung.url) as first:
        await first.wait_logged("engine_healthy")
        job_id = await submit(store, make_body(tokens=3000, script={"rate": 100}))
        await wait_tokens(store, job_id, 50)
        async with make_worker("b") as second:
            await second.wait_logged("engine_healthy")
            hung_s = time.time()
            hung.send(signal.SIGSTOP)
            await eventually(lambda: len(engine.seen) == 1, what="the request at the other engine")
            assert engine.seen[0].opened_s - hung_s < 10
            assert engine.seen[0].start >= 50
            await store.cancel(job_id)


async def test_a_second_sigterm_ends_at_once(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    async with make_worker("a") as worker:
        await worker.wait_logged("engine_healthy")
        worker.send(signal.SIGTERM)
        worker.send(signal.SIGTERM)
        assert await worker.wait_ended() in {0, 128 + signal.SIGTERM}
