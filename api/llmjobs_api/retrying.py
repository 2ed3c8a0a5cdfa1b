"""Running an ended job again: a new job of the same request, or of a batch's lines that failed."""

import time
from collections.abc import AsyncIterator

from llmjobs_api.context import Gateway
from llmjobs_core.jobs import BatchLine, JobKind, JobRecord, NewJob, Submitted
from llmjobs_core.names import build_job_id
from llmjobs_core.states import JobState

LINES_AT_ONCE = 200


def build_retry(record: JobRecord, *, user: str, key: str, body: bytes) -> NewJob:
    """Return the new job; it keeps what the old one said of itself."""
    return NewJob(
        id=build_job_id(time.time_ns() // 1_000_000),
        pool=record.pool,
        model=record.model,
        kind=record.kind,
        endpoint=record.endpoint,
        body=body,
        cost=record.cost,
        job_class=record.job_class,
        name=record.name,
        labels=record.labels,
        user=user,
        backoff_limit=record.backoff_limit,
        recovery=record.recovery,
        active_deadline_s=record.active_deadline_s,
        queue_deadline_s=record.queue_deadline_s,
        ttl_s=record.ttl_s,
        retry_of=record.id,
        idempotency_key=key,
        fingerprint=record.id if key else "",
    )


async def retry_job(
    gateway: Gateway, record: JobRecord, *, user: str, key: str
) -> tuple[NewJob, Submitted, int]:
    """Submit the new job; returns it and how many requests it has.

    Raises the store's errors. Interrupted, it goes on when repeated with the same *key*.
    """
    store = gateway.store
    if record.kind is JobKind.REQUEST:
        body = await store.fetch_request(record.id)
        job = build_retry(record, user=user, key=key, body=body)
        submitted = await store.submit(job)
        total = 1
    else:
        job = build_retry(record, user=user, key=key, body=b"")
        submitted = await store.submit(job)
        total = 0
        async for lines in _unfinished_lines(gateway, record):
            if submitted.state is JobState.PENDING:
                await store.append_lines(submitted.job_id, total, lines)
            total += len(lines)
        if submitted.state is JobState.PENDING:
            state = await store.seal(submitted.job_id)
            submitted = Submitted(submitted.job_id, submitted.created, state)
    if submitted.created:
        gateway.metrics.submitted.labels(record.kind.value).inc()
    return job, submitted, total


async def _unfinished_lines(gateway: Gateway, record: JobRecord) -> AsyncIterator[list[BatchLine]]:
    """Yield the lines that have no good result, in order."""
    total = record.counts.total
    for start in range(0, total, LINES_AT_ONCE):
        count = min(LINES_AT_ONCE, total - start)
        results = await gateway.store.fetch_results(record.id, start, count)
        lines = await gateway.store.fetch_lines(record.id, start, count)
        left = [
            line
            for line, result in zip(lines, results, strict=True)
            if line is not None and (result is None or not result.ok)
        ]
        if left:
            yield left
