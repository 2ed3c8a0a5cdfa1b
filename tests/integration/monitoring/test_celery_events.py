"""Celery's own events, which Flower and celery-exporter count, are those of any Celery worker."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from llmjobs_core.celery_app import build_celery_app
from llmjobs_core.names import TASK_NAME
from llmjobs_core.pools import PoolRegistration
from llmjobs_core.store import JobStore, StoreOptions
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import POOL, submit, wait_state
from llmjobs_testing.worker_process import WorkerProcess

JOBS = 3


def listen(url: str, heard: list[dict[str, Any]]) -> None:
    """Hear events until the last job's message is done with."""
    app = build_celery_app(url)
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})
        for _ in receiver.itercapture(limit=None, timeout=60, wakeup=False):
            if Counter(event["type"] for event in heard)["task-succeeded"] == JOBS:
                return


async def test_a_job_is_received_started_and_succeeded_by_a_worker_that_is_online(
    valkey_url: str, tmp_path: Path
) -> None:
    store = JobStore.connect(StoreOptions(valkey_url))
    await store.put_pool(PoolRegistration(key=POOL, models=("scripted",), concurrency=8))
    heard: list[dict[str, Any]] = []
    listening = asyncio.create_task(asyncio.to_thread(listen, valkey_url, heard))
    async with (
        ScriptedEngine() as engine,
        WorkerProcess(valkey_url, engine.url, tmp_path / "worker.log", pool=str(POOL)) as worker,
    ):
        await worker.wait_logged("worker_started")
        # A worker is known to listeners by its beat, every two seconds.
        await eventually(
            lambda: any(event["type"] == "worker-heartbeat" for event in heard), what="a beat"
        )
        for job in [await submit(store) for _ in range(JOBS)]:
            await wait_state(store, job)
        await asyncio.wait_for(listening, 30)
    await store.close()
    counts = Counter(event["type"] for event in heard)
    assert {kind: counts[f"task-{kind}"] for kind in ("received", "started", "succeeded")} == {
        "received": JOBS,
        "started": JOBS,
        "succeeded": JOBS,
    }
    received = [event for event in heard if event["type"] == "task-received"]
    assert {event["name"] for event in received} == {TASK_NAME}
    assert {event["hostname"].partition("@")[0] for event in received} == {POOL.queue}
