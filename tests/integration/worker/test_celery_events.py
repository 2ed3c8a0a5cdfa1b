"""Celery's own events of a worker, which Flower and exporters of Celery live on."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

from llmjobs_core.celery_app import build_celery_app
from llmjobs_core.store import JobStore
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import make_body, submit, wait_state, wait_tokens
from llmjobs_testing.worker_process import WorkerProcess

SHORT = 3
LONG = 5


def listen(url: str, heard: list[dict[str, Any]]) -> None:
    """Hear events until the worker says that it is gone."""
    app = build_celery_app(url)
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})
        for _ in receiver.itercapture(limit=None, timeout=60, wakeup=False):
            if heard and heard[-1]["type"] == "worker-offline":
                return


async def test_every_message_started_is_told_to_have_ended_also_when_its_worker_leaves(
    valkey_url: str, store: JobStore, make_worker: Callable[..., WorkerProcess]
) -> None:
    heard: list[dict[str, Any]] = []
    listening = asyncio.create_task(asyncio.to_thread(listen, valkey_url, heard))
    async with make_worker("a") as worker:
        # A worker is known to listeners by its beat, every two seconds.
        await eventually(
            lambda: any(event["type"] == "worker-heartbeat" for event in heard), what="a beat"
        )
        for job in [await submit(store) for _ in range(SHORT)]:
            await wait_state(store, job)
        body = make_body(tokens=900, script={"rate": 100})
        for job in [await submit(store, body) for _ in range(LONG)]:
            await wait_tokens(store, job, 10)
        worker.send(signal.SIGTERM)
        assert await worker.wait_ended() == 0
    await asyncio.wait_for(listening, 30)
    told = Counter(event["type"] for event in heard if event["type"].startswith("task-"))
    assert set(told) == {"task-received", "task-started", "task-succeeded"}
    # A job that was handed back may come to this worker once more before it has left.
    (count,) = set(told.values())
    assert count >= SHORT + LONG
