"""The article's stack: FastAPI, ``task.delay``, Celery on Redis, AsyncResult.

Set up as Celery's documentation says for tasks that take long: late acknowledgement, a prefetch
of one. Worker: ``celery -A article:celery_app worker``, prefork by default; with ``--pool threads``
it is the table's plain Celery.
"""

import os

from celery import Celery
from engine_call import fetch_text
from fastapi import FastAPI
from front import Accepted, Ended, JobRequest

_URL = os.environ["REDIS_URL"]
WAIT_S = 30

celery_app = Celery("article", broker=_URL, backend=_URL)
celery_app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    result_expires=3600,
)


@celery_app.task(name="generate")
def generate(body: dict) -> str:
    """Ask the engine."""
    return fetch_text(body)


app = FastAPI()


# The article's route is async and blocks on `delay`; in a thread (a plain `def`) it is slower.
@app.post("/jobs", status_code=202)
async def submit(job: JobRequest) -> Accepted:
    """Put a job into the queue."""
    return Accepted(id=generate.delay(job.body).id)


@app.post("/jobs/wait")
async def submit_and_wait(job: JobRequest) -> Ended:
    """Wait by the result backend's own channel, which Celery subscribes to before it sends."""
    result = generate.delay(job.body)
    return Ended(id=result.id, text=result.get(timeout=WAIT_S, disable_sync_subtasks=False))
