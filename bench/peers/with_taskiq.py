"""taskiq on Redis streams, the broker that its documentation shows first (it acknowledges).

Waiting is polling there; the interval is short, so that it costs next to nothing.
Worker: ``taskiq worker with_taskiq:broker --workers 1``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from engine_call import AsyncEngine
from fastapi import FastAPI
from front import Accepted, Ended, JobRequest
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

_URL = os.environ["REDIS_URL"]
WAIT_S = 30
CHECK_S = 0.0005

broker = RedisStreamBroker(_URL).with_result_backend(
    RedisAsyncResultBackend(_URL, result_ex_time=3600)
)
engine = AsyncEngine()


@broker.task(task_name="generate")
async def generate(body: dict[str, Any]) -> str:
    """Ask the engine."""
    return await engine.fetch_text(body)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Connect and disconnect."""
    await broker.startup()
    yield
    await broker.shutdown()


app = FastAPI(lifespan=lifespan)


@app.post("/jobs", status_code=202)
async def submit(job: JobRequest) -> Accepted:
    """Put a job into the queue."""
    return Accepted(id=(await generate.kiq(job.body)).task_id)


@app.post("/jobs/wait")
async def submit_and_wait(job: JobRequest) -> Ended:
    """Put a job into the queue, and look for its result."""
    task = await generate.kiq(job.body)
    result = await task.wait_result(check_interval=CHECK_S, timeout=WAIT_S)
    return Ended(id=task.task_id, text=result.return_value)
