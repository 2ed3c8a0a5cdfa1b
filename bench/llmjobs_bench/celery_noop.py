"""What Celery alone can do: the worker's own Celery app, with a task that does nothing.

The same settings from the same place (`build_celery_app`), the same pool of threads, the same
messages; so what is faster here is what a job costs. A Celery app: ``celery -A`` of this module.
"""

import os

from llmjobs_core.celery_app import build_celery_app
from llmjobs_core.names import TASK_NAME

app = build_celery_app(os.environ["PEER_REDIS"])


@app.task(name=TASK_NAME, ignore_result=True)  # type: ignore[untyped-decorator]
def run(body: str) -> None:
    """Do nothing."""
