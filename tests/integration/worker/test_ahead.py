"""What a worker claims before it has a slot does not wait there for long."""

import signal
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

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


async def count_requests(worker: WorkerProcess) -> float:
    """Return how many requests *worker* says that it sent to its engine."""
    _, page = await worker.probe("/metrics")
    families = text_string_to_metric_families(page)
    found = (sample for family in families for sample in family.samples)
    return sum(one.value for one in found if one.name == "llmjobs_worker_engine_requests_total")


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
        assert await count_requests(first) + await count_requests(second) == QUICK + SLOW
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


async def test_nothing_takes_the_slot_of_a_request_that_met_a_dying_engine(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    cut = {"rate": 20, "disconnect_at": 10, "times": SLOTS, "key": "cut"}
    lines = [make_body(tokens=1) for _ in range(QUICK)]
    lines += [make_body(tokens=20, script=cut) for _ in range(SLOTS)]
    lines += [make_body(tokens=1) for _ in range(SLOTS)]
    async with make_worker("a", concurrency=str(SLOTS)) as worker:
        await worker.wait_logged("engine_healthy")
        job_id = await submit_batch(store, lines)
        await eventually(lambda: len(engine.seen) == QUICK + SLOTS, what="those that will be cut")
        engine.healthy = False
        await worker.wait_logged("engine_unhealthy")
        assert len(engine.seen) == QUICK + SLOTS
        engine.healthy = True
        job = await wait_state(store, job_id)
    assert (job.state, job.counts.succeeded) == (JobState.SUCCEEDED, len(lines))
