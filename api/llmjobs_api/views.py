"""Records of the store as what HTTP clients see. Pure."""

import hashlib
from datetime import UTC, datetime

import msgspec

from llmjobs_api.schemas import (
    CountsView,
    ErrorView,
    JobView,
    Links,
    PoolView,
    SubmittedView,
    UsageView,
)
from llmjobs_core.explain import WaitExplanation
from llmjobs_core.jobs import JobKind, JobRecord, NewJob, Submitted
from llmjobs_core.pools import PoolStats
from llmjobs_core.states import JobState

_encoder = msgspec.json.Encoder()


def format_time(at_ms: int | None) -> str | None:
    """Return a time as RFC 3339 in UTC with milliseconds; None for none."""
    if at_ms is None:
        return None
    text = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def build_links(job_id: str, kind: JobKind) -> Links:
    """Return where a job's things are."""
    base = f"/jobs/{job_id}"
    single = kind is JobKind.REQUEST
    return Links(
        self=base,
        events=f"{base}/events",
        ws=f"{base}/ws",
        text=f"{base}/text",
        cancel=f"{base}/cancel",
        result=f"{base}/result" if single else None,
        results=None if single else f"{base}/results",
    )


def build_submitted(job: NewJob, submitted: Submitted, requests: int = 1) -> SubmittedView:
    """Return what a client is told when its job was accepted."""
    return SubmittedView(
        id=submitted.job_id,
        state=submitted.state,
        created=submitted.created,
        namespace=job.pool.namespace,
        pool=job.pool.name,
        model=job.model,
        job_class=job.job_class,
        resource=job.resource,
        requests=requests,
        links=build_links(submitted.job_id, job.kind),
    )


def build_job(record: JobRecord, why: WaitExplanation) -> JobView:
    """Return a job as it is shown."""
    counts, usage = record.counts, record.usage
    return JobView(
        id=record.id,
        object="job",
        kind=record.kind.value,
        name=record.name,
        namespace=record.namespace,
        pool=record.pool.name,
        model=record.model,
        endpoint=record.endpoint,
        job_class=record.job_class,
        state=record.state,
        reason=why.reason,
        message=why.message,
        position=why.position,
        estimated_start_time=format_time(why.eta_ms),
        labels=dict(record.labels),
        source=record.source.value,
        resource=record.resource,
        user=record.user,
        attempts=record.attempts,
        backoff_limit=record.backoff_limit,
        recovery=record.recovery,
        worker=record.worker,
        retry_of=record.retry_of,
        counts=CountsView(
            total=counts.total,
            queued=counts.queued,
            running=counts.running,
            succeeded=counts.succeeded,
            failed=counts.failed,
            cancelled=counts.cancelled,
            retried=counts.retried,
        ),
        tokens=record.tokens,
        usage=UsageView(usage.prompt_tokens, usage.completion_tokens, usage.regenerated_tokens),
        error=ErrorView(record.error.code, record.error.message) if record.error else None,
        active_deadline_seconds=record.active_deadline_s,
        queue_deadline_seconds=record.queue_deadline_s,
        ttl_seconds=record.ttl_s,
        created_time=format_time(record.created_ms) or "",
        queued_time=format_time(record.queued_ms),
        start_time=format_time(record.started_ms),
        first_token_time=format_time(record.first_token_ms),
        completion_time=format_time(record.finished_ms),
        retry_time=format_time(record.not_before_ms),
        expiry_time=format_time(record.expires_ms),
        links=build_links(record.id, record.kind),
    )


def build_etag(view: JobView) -> str:
    """Return a weak validator: it changes when the job does, not when only an estimate moves."""
    steady = msgspec.structs.replace(view, estimated_start_time=None)
    if view.state is JobState.QUEUED:
        # The sentence holds the estimate.
        steady.message = ""
    return f'W/"{hashlib.blake2b(_encoder.encode(steady), digest_size=12).hexdigest()}"'


def build_pool(stats: PoolStats) -> PoolView:
    """Return a pool as it is shown."""
    pool = stats.registration
    return PoolView(
        name=pool.key.name,
        namespace=pool.key.namespace,
        models=list(pool.models),
        accepting=pool.accepting,
        reason=pool.reason,
        message=pool.message,
        jobs_waiting=stats.backlog_jobs,
        requests_queued=stats.queued,
        requests_running=stats.running,
        slots=stats.slots,
        workers=stats.workers,
        requests_per_second=stats.requests_per_s,
        tokens_per_second=stats.cost_per_s,
        oldest_queued_time=format_time(stats.oldest_queued_ms),
    )
