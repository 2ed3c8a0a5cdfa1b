"""From an LLMJob to the job that the store takes: the same whichever door submits it. Pure.

The operator submits every LLMJob; the gateway submits those that it made itself at once. Both come
to the same job with the same id, so it does not matter who is first, or whether one of them dies.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from llmjobs_core.jobs import JobKind, NewJob
from llmjobs_core.names import (
    SOURCE_ANNOTATION,
    TITLE_ANNOTATION,
    USER_ANNOTATION,
    PoolKey,
    build_owned_job_id,
)
from llmjobs_core.resources.common import ObjectMeta
from llmjobs_core.resources.llmjob import LLMJob
from llmjobs_core.resources.parse import request_shape
from llmjobs_core.states import JobSource


def build_new_job(
    job: LLMJob, pool: PoolKey, model: str, *, status: Mapping[str, Any] | None = None
) -> NewJob:
    """Return the job of *job*, resolved to *pool* and *model*; a batch's lines follow apart.

    *status* is the LLMJob's as it was read: it tells whether the store had the job before.
    Raises InvalidResource. A job that is to be cancelled comes in suspended, so that none of it
    runs before the cancel.
    """
    spec, meta = job.spec, job.metadata
    body, endpoint, cost = b"", "/v1/chat/completions", 1
    if spec.request is not None:
        shape = request_shape(spec)
        body = msgspec.json.encode({**spec.request.body, "model": model})
        endpoint, cost = spec.request.endpoint, shape.cost
    by_http = meta.annotations.get(SOURCE_ANNOTATION) == JobSource.HTTP
    return NewJob(
        id=owned_job_id(meta),
        pool=pool,
        model=model,
        kind=JobKind.REQUEST if spec.request is not None else JobKind.BATCH,
        endpoint=endpoint,
        body=body,
        cost=cost,
        job_class=spec.job_class,
        name=meta.annotations.get(TITLE_ANNOTATION) or meta.name,
        labels=dict(meta.labels),
        source=JobSource.HTTP if by_http else JobSource.KUBERNETES,
        owner=meta.uid,
        resource=meta.name,
        user=meta.annotations.get(USER_ANNOTATION, ""),
        suspend=spec.suspend or spec.cancel,
        resubmitted=bool((status or {}).get("jobId")),
        backoff_limit=spec.backoff_limit,
        recovery=spec.recovery,
        active_deadline_s=spec.active_deadline_seconds,
        queue_deadline_s=spec.queue_deadline_seconds,
        # Kept until the LLMJob is deleted; its finalizer removes the record then.
        ttl_s=-1,
        idempotency_key=meta.uid,
        fingerprint=hashlib.sha256(meta.uid.encode()).hexdigest(),
    )


def owned_job_id(meta: ObjectMeta) -> str:
    """Return the id that the job of this LLMJob has in the store, now and after every loss."""
    created = datetime.fromisoformat(meta.creation_timestamp)
    return build_owned_job_id(meta.uid, int(created.timestamp() * 1000))
