"""Why a job is where it is, in words: pure, so that the gateway and the operator say the same.

It takes what was read (the job, its pool, its place) and the time, and reads nothing itself. What
could not be read is None and is said to be unknown; it is never taken for zero.
"""

from dataclasses import dataclass
from enum import StrEnum

from llmjobs_core.jobs import JobKind, JobRecord
from llmjobs_core.pools import PoolStats, Waiting
from llmjobs_core.states import JobState


class WaitReason(StrEnum):
    """Why a queued job does not run yet, in one word; a pool may state its own instead."""

    POOL_UNKNOWN = "PoolUnknown"
    POOL_DELETING = "PoolDeleting"
    NO_WORKERS = "NoWorkers"
    RETRYING = "Retrying"
    NEXT_IN_LINE = "NextInLine"
    WAITING_FOR_SLOT = "WaitingForSlot"


@dataclass(frozen=True, slots=True)
class WaitExplanation:
    """Where a job stands and why."""

    position: int | None
    """Jobs ahead of it in its pool; 0 is next. None when it does not wait, or is unknown."""
    eta_ms: int | None
    """When it should start, in ms since the epoch; None when it does not wait, or is unknown."""
    reason: str
    """One CamelCase word."""
    message: str
    """A sentence; never empty."""


def explain_waiting(
    record: JobRecord, stats: PoolStats | None, waiting: Waiting | None, now_ms: int
) -> WaitExplanation:
    """Return why *record* is in its state, and for a queued job where it stands and until when.

    *stats* is None when the pool could not be read or is not there; *waiting* is None when the
    place was not asked for or could not be read. *now_ms* is the server's clock.
    """
    if record.state is not JobState.QUEUED:
        return WaitExplanation(None, None, record.reason, _state_message(record))
    if record.not_before_ms is not None and record.not_before_ms > now_ms:
        return WaitExplanation(
            None, record.not_before_ms, WaitReason.RETRYING, _retry_message(record, now_ms)
        )
    position = waiting.position if waiting else None
    blocked = _pool_block(record, stats)
    if blocked is not None or stats is None:
        reason, message = blocked or (WaitReason.POOL_UNKNOWN, _unknown_pool(record))
        return WaitExplanation(position, None, reason, f"{message}{_place(position)}")
    if waiting is None or position is None:
        return WaitExplanation(None, None, WaitReason.WAITING_FOR_SLOT, _busy(stats))
    eta_ms = _plan_start(stats, waiting, now_ms)
    reason = WaitReason.NEXT_IN_LINE if position == 0 else WaitReason.WAITING_FOR_SLOT
    return WaitExplanation(position, eta_ms, reason, _queue_message(stats, position, eta_ms))


def format_duration(seconds: float) -> str:
    """Return a length of time for people: ``8 s``, ``3 min 10 s``, ``2 h 5 min``, ``3 d 4 h``."""
    total = max(0, round(seconds))
    days, rest = divmod(total, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (secs, "s")]
    first = next((at for at, (value, _) in enumerate(parts) if value), 3)
    shown = [f"{value} {unit}" for value, unit in parts[first : first + 2] if value]
    return " ".join(shown) or "0 s"


def _state_message(record: JobRecord) -> str:
    if record.message:
        return record.message
    if record.state is JobState.PENDING:
        return f"its input is being written: {record.counts.total} lines so far"
    if record.state is JobState.SUSPENDED:
        return "held by its owner until it is resumed"
    if record.state is JobState.RUNNING:
        return _running_message(record)
    if record.error is not None and record.error.message:
        return record.error.message
    return {
        JobState.SUCCEEDED: "complete",
        JobState.FAILED: "failed",
        JobState.CANCELLED: "cancelled",
    }.get(record.state, "a deadline passed")


def _running_message(record: JobRecord) -> str:
    counts = record.counts
    if record.kind is JobKind.BATCH:
        ended = counts.succeeded + counts.failed + counts.cancelled
        return f"{ended} of {counts.total} lines have ended, {counts.running} are running"
    again = "" if record.attempts <= 1 else f", attempt {record.attempts}"
    return f"generating{again}; {record.tokens} tokens so far"


def _retry_message(record: JobRecord, now_ms: int) -> str:
    in_s = ((record.not_before_ms or now_ms) - now_ms) / 1000
    cause = f" ({record.error.code})" if record.error is not None else ""
    return f"attempt {record.attempts} failed{cause}; it is tried again in {format_duration(in_s)}"


def _unknown_pool(record: JobRecord) -> str:
    return f"the state of pool {record.pool} is not known now"


def explain_pool_wait(stats: PoolStats) -> str:
    """Return in one word why a request of this pool would wait now."""
    pool = stats.registration
    if not pool.accepting:
        return pool.reason or WaitReason.POOL_DELETING
    if stats.slots == 0:
        return pool.reason or WaitReason.NO_WORKERS
    return WaitReason.WAITING_FOR_SLOT


def _pool_block(record: JobRecord, stats: PoolStats | None) -> tuple[str, str] | None:
    """Return reason and message when the pool itself keeps the job from starting."""
    if stats is None:
        return None
    pool, reason = stats.registration, explain_pool_wait(stats)
    if not pool.accepting:
        text = f"pool {record.pool} is being deleted and is fed no more"
        return reason, pool.message or text
    if pool.reason and stats.slots == 0:
        return reason, pool.message or f"pool {record.pool} is not ready: {pool.reason}"
    if stats.slots == 0:
        return reason, f"no worker of pool {record.pool} is running yet"
    return None


def _place(position: int | None) -> str:
    if position is None:
        return ""
    return "; it is next" if position == 0 else f"; {_ahead(position)}"


def _ahead(position: int) -> str:
    return "1 job is ahead" if position == 1 else f"{position} jobs are ahead"


def _plan_start(stats: PoolStats, waiting: Waiting, now_ms: int) -> int | None:
    """Return when the work ahead is done at the measured rate; None without one."""
    if waiting.position == 0 and stats.running + stats.dispatched < stats.slots:
        return now_ms
    if waiting.cost_ahead is None or not stats.cost_per_s:
        return None
    return now_ms + round(waiting.cost_ahead / stats.cost_per_s * 1000)


def _busy(stats: PoolStats) -> str:
    # More than the slots can be claimed: those that are about to come free.
    return f"{min(stats.running, stats.slots)} of {stats.slots} slots are busy"


def _queue_message(stats: PoolStats, position: int, eta_ms: int | None) -> str:
    place = "it is next" if position == 0 else _ahead(position)
    busy = _busy(stats)
    if eta_ms is None:
        return f"{place}; {busy}; no rate is measured yet, so there is no estimate"
    wait_s = (eta_ms - stats.now_ms) / 1000
    return f"{place}; {busy}; it should start in about {format_duration(wait_s)}"
