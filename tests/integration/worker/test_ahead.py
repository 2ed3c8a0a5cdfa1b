"""What a worker claims before it has a slot does not wait there for long."""

import signal
from collections.abc import Callable

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import make_body, submit_batch, wait_state
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]

QUICK = 200
SLOW = 16
"""Twice what both workers have slots for."""
SLOTS = 4


async def test_lines_behind_slow_ones_are_handed_back_and_run_elsewhere(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    quick = [make_body(tokens=1) for _ in range(QUICK)]
    slow = [make_body(tokens=200, script={"rate": 100}) for _ in range(SLOW)]
    async with (
        make_worker("a", concurrency=str(SLOTS)) as first,
        make_worker("b", concurrency=str(SLOTS)) as second,
    ):
        await first.wait_logged("engine_healthy")
        await second.wait_logged("engine_healthy")
        job_id = await submit_batch(store, [*quick, *slow])
        job = await wait_state(store, job_id)
    assert (job.state, job.counts.succeeded) == (JobState.SUCCEEDED, QUICK + SLOW)
    assert job.counts.retried > 0
    assert len(engine.seen) == QUICK + SLOW  # none was at an engine before it was handed back


async def test_a_worker_that_leaves_hands_back_what_waits_for_its_slots(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    quick = [make_body(tokens=1) for _ in range(QUICK)]
    slow = [make_body(tokens=200, script={"rate": 100}) for _ in range(SLOW)]
    async with make_worker("a", concurrency=str(SLOTS)) as first:
        await first.wait_logged("engine_healthy")
        job_id = await submit_batch(store, [*quick, *slow])
        await eventually(lambda: len(engine.seen) == QUICK + SLOTS, what="slow lines in all slots")
        first.send(signal.SIGTERM)
        assert await first.wait_ended() == 0
        assert await store.client.zcard("llmjobs:leases") == 0
        assert first.logged("request_crashed") == 0
    async with make_worker("b", concurrency=str(SLOTS)):
        job = await wait_state(store, job_id)
    assert (job.state, job.counts.succeeded) == (JobState.SUCCEEDED, QUICK + SLOW)
