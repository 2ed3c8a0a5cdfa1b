"""Jobs of one token through one worker process, beside Celery alone and plain Celery threads."""

import asyncio
import json
import time
from collections.abc import Sequence

from llmjobs_bench.celery_events import CeleryEvents
from llmjobs_bench.celery_peers import NOOP, THREADS, add_celery, drain, push_tasks
from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed, divide
from llmjobs_bench.rig import MODEL, POOL, Rig
from llmjobs_bench.row import Row, Stage
from llmjobs_bench.rows.relay import build_body, check_texts
from llmjobs_core.jobs import NewJob
from llmjobs_core.names import build_job_id
from llmjobs_core.store import JobStore
from llmjobs_testing.engine_text import build_text

SLOTS = 64
_WAVE = 48
"""Submissions under way at a time: fewer than the harness has connections."""


async def measure_jobs(stage: Stage) -> Sequence[Figure]:
    """Drain the same number of jobs and of tasks, in turns; all workers live all the time."""
    count = stage.size(1_500, 150)
    chat = json.dumps(build_body(1))
    async with Rig(stage.folder) as rig, CeleryEvents(rig.valkey.url) as events:
        engine = await rig.add_engine()
        await rig.add_worker(engine, concurrency=SLOTS)
        for module in (NOOP, THREADS):
            await add_celery(rig, module, engine, queue=module, concurrency=SLOTS)

        async def run_jobs() -> float:
            ids: list[str] = []
            rate = await drain(events, lambda: submit_jobs(rig.store, count, ids), count)
            await check_texts(rig.store, ids, build_text(1))
            return rate

        async def run_noop() -> float:
            async def push() -> None:
                await push_tasks(rig, NOOP, chat, count)

            return await drain(events, push, count)

        async def run_threads() -> float:
            ids: list[str] = []

            async def push() -> None:
                ids.extend(await push_tasks(rig, THREADS, chat, count))

            rate = await drain(events, push, count)
            await check_results(rig, ids, build_text(1))
            return rate

        contenders = {"jobs": run_jobs, "noop": run_noop, "threads": run_threads}
        for warm_up in contenders.values():
            await warm_up()
        taken = await stage.alternate(contenders)
    jobs, noop, threads = (taken[name] for name in contenders)
    return [
        Figure("of Celery's no-op tasks", divide(jobs, noop), bound=Bound(0.5)),
        Figure("of plain Celery threads", divide(jobs, threads), bound=Bound(1.5)),
        Figure("jobs", jobs, "jobs/s"),
        Figure("Celery's no-op tasks", noop, "tasks/s"),
        Figure("plain Celery threads", threads, "tasks/s"),
    ]


async def submit_jobs(store: JobStore, count: int, ids: list[str]) -> None:
    """Submit *count* chats of one token; their ids are added to *ids*."""
    body = json.dumps(build_body(1)).encode()
    ids += [build_job_id(int(time.time() * 1000)) for _ in range(count)]
    for at in range(0, count, _WAVE):
        jobs = (NewJob(id=i, pool=POOL, model=MODEL, body=body) for i in ids[at : at + _WAVE])
        await asyncio.gather(*map(store.submit, jobs))


async def check_results(rig: Rig, ids: Sequence[str], text: str) -> None:
    """Raise SelfCheckFailed unless every task's result in Celery's backend is *text*."""
    for kept in await rig.store.client.mget([f"celery-task-meta-{task_id}" for task_id in ids]):
        if kept is None or json.loads(kept)["result"] != text:
            raise SelfCheckFailed("a task's result is not what the engine said")


JOBS = Row(
    "jobs",
    f"jobs/s of one worker process: one token each, {SLOTS} slots, Celery's events on; against the "
    f"same Celery draining no-op tasks, and against plain Celery ({SLOTS} threads, results in "
    "Redis) that asks the same engine",
    measure_jobs,
)
