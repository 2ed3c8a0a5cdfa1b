"""SAQ: ``queue.enqueue``, and ``queue.apply``, which looks for the job's result.

Its interval is short here, so that it costs next to nothing; the default, 0.5 s, is all of a wait.

Worker: ``saq with_saq.settings``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from engine_call import AsyncEngine
from fastapi import FastAPI
from front import Accepted, Ended, JobRequest
from saq import Queue

WAIT_S = 30
CHECK_S = 0.0005

queue = Queue.from_url(os.environ["REDIS_URL"])
engine = AsyncEngine()


async def generate(_: dict[str, Any], *, body: dict[str, Any]) -> dict[str, str]:
    """Ask the engine."""
    return {"text": await engine.fetch_text(body)}


settings = {"queue": queue, "functions": [generate], "concurrency": 64}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Connect and disconnect."""
    await queue.connect()
    yield
    await queue.disconnect()


app = FastAPI(lifespan=lifespan)


@app.post("/jobs", status_code=202)
async def submit(job: JobRequest) -> Accepted:
    """Put a job into the queue."""
    queued = await queue.enqueue("generate", body=job.body)
    return Accepted(id=queued.key)


@app.post("/jobs/wait")
async def submit_and_wait(job: JobRequest) -> Ended:
    """Put a job into the queue, and look for its result."""
    result = await queue.apply("generate", timeout=WAIT_S, poll_interval=CHECK_S, body=job.body)
    return Ended(id="", text=result["text"])
