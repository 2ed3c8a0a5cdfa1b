"""RQ: ``queue.enqueue``, and the stream that a job's result is read from as it comes.

Worker: ``rq worker -w rq.worker.SimpleWorker``, which does not fork for each job: RQ's quickest.
"""

import os
from typing import Any

from engine_call import fetch_text
from fastapi import FastAPI
from front import Accepted, Ended, JobRequest
from redis import Redis
from rq import Queue

WAIT_S = 30


def generate(body: dict[str, Any]) -> str:
    """Ask the engine."""
    return fetch_text(body)


queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"]))
app = FastAPI()


# RQ is synchronous, and quicker on the loop than from a thread.
@app.post("/jobs", status_code=202)
async def submit(job: JobRequest) -> Accepted:
    """Put a job into the queue."""
    return Accepted(id=queue.enqueue("with_rq.generate", job.body).id)


@app.post("/jobs/wait")
async def submit_and_wait(job: JobRequest) -> Ended:
    """Put a job into the queue, and read the stream of its result."""
    queued = queue.enqueue("with_rq.generate", job.body)
    result = queued.latest_result(timeout=WAIT_S)
    return Ended(id=queued.id, text=result.return_value)
