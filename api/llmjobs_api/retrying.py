"""Running ended jobs again: a new job of the same request, or of a batch's lines that failed.

An ended job has one retry, however often it is asked for, unless a client's own key says
otherwise: to try once more, retry the retry. The new job is an ordinary one, also where the old
one was an LLMJob's.
"""

import time
from collections.abc import AsyncIterator, Sequence

from llmjobs_api.batch_intake import begin_batch
from llmjobs_api.context import Gateway
from llmjobs_api.problems import Problem, from_store_error
from llmjobs_api.schemas import RetriedView, RetryReport
from llmjobs_core.errors import JobNotFound, PermanentError
from llmjobs_core.jobs import (
    DEFAULT_TTL_S,
    BatchLine,
    JobKind,
    JobRecord,
    NewJob,
    Submitted,
)
from llmjobs_core.names import build_job_id
from llmjobs_core.states import JobState

LINES_AT_ONCE = 200
"""Lines of a batch that are held in memory together, with their results."""
LINES_A_CALL = 50_000
"""Lines that one call to retry many jobs copies, or a little more: some seconds (arbitrary)."""
_KEY_SCOPE = "retry:"


def explain_refusal(record: JobRecord) -> Problem | None:
    """Return why the job can't be retried as it is; None if it can."""
    if not record.state.is_terminal:
        return Problem(409, "not_finished", f"the job is {record.state}; cancel it first")
    if record.state is JobState.SUCCEEDED and not record.counts.failed:
        return Problem(409, "state_conflict", "the job has succeeded: there is nothing to retry")
    return None


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
        ttl_s=DEFAULT_TTL_S if record.owner else record.ttl_s,
        retry_of=record.id,
        idempotency_key=key or _KEY_SCOPE + record.id,
        fingerprint=record.id,
    )


async def retry_job(
    gateway: Gateway, record: JobRecord, *, user: str, key: str
) -> tuple[NewJob, Submitted, int]:
    """Submit the new job; returns it and how many requests it has.

    Raises the store's errors. Interrupted, it goes on when repeated, with the same *key* if any.
    """
    store = gateway.store
    if record.kind is JobKind.REQUEST:
        body = await store.fetch_request(record.id)
        job = build_retry(record, user=user, key=key, body=body)
        submitted = await store.submit(job)
        total = 1
    else:
        job = build_retry(record, user=user, key=key, body=b"")
        submitted = await begin_batch(store, job)
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


async def retry_all(
    gateway: Gateway, records: Sequence[JobRecord], *, user: str
) -> tuple[RetryReport, int]:
    """Retry these jobs in order; returns what came of each, and how many were looked at.

    It stops once it has copied LINES_A_CALL lines of batches. Repeated, it makes no second retry
    of any whose retry is still there. *remaining* and the cursor are the caller's to add. Raises
    the store's outages.
    """
    report, lines, looked_at = RetryReport(), 0, 0
    for record in records:
        if lines >= LINES_A_CALL:
            break
        looked_at += 1
        refusal = explain_refusal(record)
        if refusal is None:
            try:
                _, submitted, total = await retry_job(gateway, record, user=user, key="")
            except JobNotFound:
                continue
            except PermanentError as error:
                refusal = from_store_error(error)
            else:
                lines += total
                report.jobs.append(RetriedView(record.id, submitted.job_id, submitted.created))
                report.retried += int(submitted.created)
                report.already_retried += int(not submitted.created)
        if refusal is not None:
            report.jobs.append(RetriedView(record.id, refusal=refusal.detail))
            report.refused += 1
    return report, looked_at


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
