"""A worker that is killed again and again while it has all it can do: every message counts."""

import signal
import time
from collections.abc import Callable

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import make_body, submit, wait_state
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]

KILLS = 5
JOBS = 300
"""Waiting at each kill: more than a worker does before it is killed."""


async def test_every_job_runs_when_a_saturated_worker_is_killed(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    job_ids: list[str] = []
    for kill in range(KILLS):
        new = [await submit(store, make_body(tokens=1)) for _ in range(JOBS)]
        job_ids += new
        seen = len(engine.seen)
        async with make_worker(f"w{kill}") as worker:
            await eventually(lambda seen=seen: len(engine.seen) > seen + 20, what="saturation")  # type: ignore[misc]
            worker.send(signal.SIGKILL)
            await worker.wait_ended()
    async with make_worker("last") as last:
        await last.wait_logged("engine_healthy")
        began_s = time.monotonic()
        for job_id in job_ids:
            job = await wait_state(store, job_id)
            assert job.state is JobState.SUCCEEDED
        took_s = time.monotonic() - began_s
    # What the engine needs for it, and the time in which lost messages and leases are found.
    assert took_s < 10 + JOBS * KILLS / 100, f"{took_s:.1f} s"
    assert len(engine.seen) <= len(job_ids) + KILLS * 8
