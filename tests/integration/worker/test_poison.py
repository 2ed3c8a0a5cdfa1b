"""A job that kills its engine again and again is stopped; what ran beside it goes on."""

from collections.abc import Callable

from llmjobs_core.states import JobReason, JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine_process import EngineProcess
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.worker_jobs import (
    fetch_watched_text,
    make_body,
    parse_content,
    submit,
    wait_state,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


async def check_text(store: JobStore, job_id: str, tokens: int, seed: int) -> None:
    job = await wait_state(store, job_id, timeout_s=90)
    assert job.state is JobState.SUCCEEDED, job.message
    (result,) = await store.fetch_results(job_id)
    assert parse_content(result) == build_text(tokens, seed)
    assert await fetch_watched_text(store, job_id) == (build_text(tokens, seed), 0)


async def test_a_job_that_kills_its_engine_ends_as_poison_and_its_neighbours_well(
    store: JobStore, make_worker: MakeWorker
) -> None:
    async with EngineProcess() as engine, make_worker("a", engine_url=engine.url):
        neighbours = [
            await submit(store, make_body(tokens=400, seed=i, script={"rate": 100}))
            for i in range(6)
        ]
        poison = await submit(store, make_body(script={"die_at": 3, "rate": 20}), backoff_limit=0)
        job = await wait_state(store, poison, timeout_s=90)
        for seed, job_id in enumerate(neighbours):
            await check_text(store, job_id, 400, seed)
    assert (job.state, job.reason) == (JobState.FAILED, JobReason.POISONED)
    assert job.error is not None
    assert job.error.code == "engine_lost"
    assert "the engine of worker a" in job.message
    assert "at token 3" in job.message
    assert engine.starts == 4


async def test_neighbours_that_had_no_token_yet_are_not_taken_for_poison(
    store: JobStore, make_worker: MakeWorker
) -> None:
    async with EngineProcess() as engine, make_worker("a", engine_url=engine.url):
        slow = {"delay_s": 0.6}
        neighbours = [
            await submit(store, make_body(tokens=5, seed=i, script=slow)) for i in range(5)
        ]
        poison = await submit(store, make_body(script={"die_at": 0, "delay_s": 0.4}))
        job = await wait_state(store, poison, timeout_s=90)
        for seed, job_id in enumerate(neighbours):
            await check_text(store, job_id, 5, seed)
    assert job.reason == JobReason.POISONED


async def test_an_engine_that_is_away_costs_no_attempt(
    store: JobStore, make_worker: MakeWorker
) -> None:
    engine = EngineProcess()
    async with make_worker("a", engine_url=engine.url) as worker:
        async with engine:
            await worker.wait_logged("engine_healthy")
        # Between two looks at its health: the worker learns of it by this request.
        job_id = await submit(store, backoff_limit=0)
        await worker.wait_logged("request_unanswered")
        await wait_state(store, job_id, JobState.QUEUED)
        async with engine:
            job = await wait_state(store, job_id, timeout_s=90)
    assert (job.state, job.error) == (JobState.SUCCEEDED, None)


async def test_an_external_engine_without_a_health_check_that_is_away_costs_no_attempt(
    store: JobStore, make_worker: MakeWorker
) -> None:
    engine = EngineProcess()
    async with make_worker("a", engine_url=engine.url, health_path="") as worker:
        async with engine:
            await worker.wait_logged("engine_healthy")
        job_ids = [await submit(store, backoff_limit=0) for _ in range(20)]
        await worker.wait_logged("engine_unhealthy")
        async with engine:
            jobs = [await wait_state(store, job_id, timeout_s=90) for job_id in job_ids]
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
