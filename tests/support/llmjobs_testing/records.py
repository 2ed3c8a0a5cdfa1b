"""Builders of what the store gives out: records and pool readings with sensible defaults."""

from typing import Any

from llmjobs_core.jobs import Counts, JobKind, JobRecord, Usage
from llmjobs_core.names import PoolKey
from llmjobs_core.pools import PoolRegistration, PoolStats
from llmjobs_core.states import JobClass, JobReason, JobSource, JobState, Recovery

NOW_MS = 1_790_000_000_000
POOL = PoolKey("team-a", "gemma")


def make_record(**changes: Any) -> JobRecord:
    """Return a queued single job of pool ``team-a/gemma``, changed as asked."""
    fields: dict[str, Any] = {
        "id": "job-01jz0000000000000000000000",
        "pool": POOL,
        "model": "gemma-3-270m",
        "kind": JobKind.REQUEST,
        "endpoint": "/v1/chat/completions",
        "job_class": JobClass.STANDARD,
        "name": "",
        "labels": {},
        "source": JobSource.HTTP,
        "owner": "",
        "resource": "",
        "user": "",
        "recovery": Recovery.RESUME,
        "state": JobState.QUEUED,
        "reason": JobReason.SUBMITTED,
        "message": "",
        "attempts": 0,
        "backoff_limit": 3,
        "cost": 100,
        "counts": Counts(total=1, queued=1),
        "usage": Usage(),
        "error": None,
        "worker": "",
        "retry_of": "",
        "active_deadline_s": None,
        "queue_deadline_s": None,
        "ttl_s": 3600,
        "created_ms": NOW_MS,
        "queued_ms": NOW_MS,
        "started_ms": None,
        "first_token_ms": None,
        "finished_ms": None,
        "not_before_ms": None,
        "expires_ms": None,
        "tokens": 0,
    }
    return JobRecord(**(fields | changes))


def make_stats(*, registration: PoolRegistration | None = None, **changes: Any) -> PoolStats:
    """Return a pool with 4 slots, all busy, 12 jobs queued and 50 cost/s, changed as asked."""
    fields: dict[str, Any] = {
        "registration": registration or PoolRegistration(key=POOL, models=("gemma-3-270m",)),
        "backlog_jobs": 12,
        "queued": 12,
        "dispatched": 0,
        "running": 4,
        "slots": 4,
        "workers": 2,
        "queued_cost": 1200,
        "cost_per_s": 50.0,
        "requests_per_s": 0.5,
        "oldest_queued_ms": NOW_MS - 60_000,
        "last_active_ms": NOW_MS,
        "now_ms": NOW_MS,
    }
    return PoolStats(**(fields | changes))
