"""Plain Celery: a task on a pool of threads asks the engine, and its result goes to Redis.

As its documentation has it: one client with kept-alive connections a process, results only as large
as they must be, events on for whoever monitors it. Nothing of llmjobs is in here; what is missing
beside it (leases, fences, retries, progress, cancelling) makes it faster.
"""

import json
import os

import urllib3
from celery import Celery

CONCURRENCY = int(os.environ.get("PEER_CONCURRENCY", "64"))

app = Celery("peer", broker=os.environ["PEER_REDIS"], backend=os.environ["PEER_REDIS"])
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    worker_send_task_events=True,
    broker_connection_retry_on_startup=True,
)

_engine = urllib3.PoolManager(maxsize=CONCURRENCY)
_URL = os.environ["PEER_ENGINE"] + "/v1/chat/completions"


@app.task(name="llmjobs.run")
def run(body: str) -> str:
    """Return what the model says to *body*, an OpenAI chat request as JSON."""
    answer = _engine.request(
        "POST", _URL, body=body, headers={"content-type": "application/json"}, timeout=600.0
    )
    return json.loads(answer.data)["choices"][0]["message"]["content"]
