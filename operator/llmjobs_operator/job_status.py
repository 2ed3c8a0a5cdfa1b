"""An LLMJob's status from the store's record: pure, and the same for the same input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmjobs_core.explain import WaitExplanation
from llmjobs_core.jobs import JobKind, JobRecord
from llmjobs_core.resources.llmjob import JobCondition
from llmjobs_core.states import JobState
from llmjobs_operator.conditions import Fact, build_conditions
from llmjobs_operator.objects import format_time

PREVIEW_CHARS = 256
_POSITION_STEP = 0.25
"""A position is written again when it changed by this share (arbitrary): a long queue that moves
by one must not cost a write per waiting job."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a job was not accepted; *final* when only another LLMJob can help."""

    reason: str
    message: str
    final: bool


def build_refused_status(
    before: Mapping[str, Any], refusal: Refusal, *, generation: int, now_ms: int
) -> dict[str, Any]:
    """Return the status of a job that is not in the store because it was refused."""
    facts = [Fact(JobCondition.ACCEPTED, False, refusal.reason, refusal.message)]
    ending = "Cancelled" if refusal.reason == "Cancelled" else "Failed"
    if refusal.final:
        facts += [
            Fact(JobCondition.COMPLETE, False, refusal.reason),
            Fact(JobCondition.FAILED, True, refusal.reason, refusal.message),
            Fact(JobCondition.FINISHED, True, ending, refusal.message),
        ]
    else:
        facts.append(Fact(JobCondition.FINISHED, False, refusal.reason, refusal.message))
    now = format_time(now_ms)
    status: dict[str, Any] = {
        "conditions": build_conditions(
            before.get("conditions") or [], facts, generation=generation, now=now
        ),
        "phase": ending if refusal.final else "Waiting",
        "reason": refusal.reason,
        "message": refusal.message[:1024],
        "observedGeneration": generation,
    }
    if refusal.final:
        status["completionTime"] = before.get("completionTime") or now
    return status


def build_job_status(
    before: Mapping[str, Any],
    record: JobRecord,
    waiting: WaitExplanation,
    *,
    preview: str,
    generation: int,
    now_ms: int,
) -> dict[str, Any]:
    """Return the whole status of a job that the store knows."""
    counts = record.counts
    ended = counts.succeeded + counts.failed + counts.cancelled
    status: dict[str, Any] = {
        "conditions": build_conditions(
            before.get("conditions") or [],
            _facts(record, waiting),
            generation=generation,
            now=format_time(now_ms),
        ),
        "phase": str(record.state),
        "reason": waiting.reason[:64],
        "message": waiting.message[:1024],
        "observedGeneration": generation,
        "jobId": record.id,
        "pool": record.pool.name,
        "model": record.model,
        "counts": {
            "total": counts.total,
            "queued": counts.queued,
            "running": counts.running,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
            "retried": counts.retried,
        },
        "progress": f"{ended}/{counts.total}",
        "tokens": format_count(record.tokens),
        "attempts": record.attempts,
    }
    optional: dict[str, Any] = {
        "position": waiting.position,
        "estimatedStartTime": _time(waiting.eta_ms),
        "worker": record.worker,
        "queuedTime": _time(record.queued_ms),
        "startTime": _time(record.started_ms),
        "completionTime": _time(record.finished_ms),
    }
    if record.state.is_terminal:
        began = record.started_ms or record.created_ms
        optional |= {
            "usage": {
                "promptTokens": record.usage.prompt_tokens,
                "completionTokens": record.usage.completion_tokens,
                "regeneratedTokens": record.usage.regenerated_tokens,
            },
            "duration": format_duration(((record.finished_ms or now_ms) - began) // 1000),
            "preview": preview[:PREVIEW_CHARS],
            "resultRef": {"jobId": record.id, "path": _result_path(record)},
        }
    return status | {name: value for name, value in optional.items() if _is_set(value)}


def _is_set(value: object) -> bool:
    return value is not None and value != ""


def _time(ms: int | None) -> str | None:
    return None if ms is None else format_time(ms)


def _result_path(record: JobRecord) -> str:
    return f"/jobs/{record.id}/{'results' if record.kind is JobKind.BATCH else 'result'}"


def _facts(record: JobRecord, waiting: WaitExplanation) -> list[Fact]:
    state, reason, message = record.state, record.reason, waiting.message
    started = record.started_ms is not None
    complete = state is JobState.SUCCEEDED
    return [
        Fact(JobCondition.ACCEPTED, True, "Submitted", f"runs on pool {record.pool.name}"),
        Fact(
            JobCondition.SUSPENDED,
            state is JobState.SUSPENDED,
            "Suspended" if state is JobState.SUSPENDED else "NotSuspended",
        ),
        Fact(JobCondition.STARTED, started, "Started" if started else "NotStarted"),
        Fact(JobCondition.COMPLETE, complete, reason if complete else "NotComplete"),
        Fact(
            JobCondition.FAILED,
            state.is_terminal and not complete,
            reason if state.is_terminal and not complete else "NotFailed",
            message if state.is_terminal and not complete else "",
        ),
        Fact(
            JobCondition.FINISHED,
            state.is_terminal,
            str(state) if state.is_terminal else "NotFinished",
            message if state.is_terminal else "",
        ),
    ]


def format_count(value: int) -> str:
    """Return a count for a narrow column: ``999``, ``81k``, ``3M``."""
    if value < 1000:
        return str(value)
    return f"{value // 1000}k" if value < 1_000_000 else f"{value // 1_000_000}M"


def format_duration(seconds: int) -> str:
    """Return whole seconds as kubectl shows ages: ``45s``, ``3m10s``, ``2h5m``, ``3d4h``."""
    days, rest = divmod(max(0, seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days}d{hours}h"
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{secs}s" if minutes else f"{secs}s"


_VOLATILE = ("position", "estimatedStartTime", "message", "tokens", "progress", "counts")


def is_worth_writing(before: Mapping[str, Any], after: Mapping[str, Any], *, fresh: bool) -> bool:
    """Return whether *after* tells something new.

    What moves all the time (the place in the queue, progress) is only worth it when the last write
    is a while ago (*fresh* is false), and the place only when it changed by a good part.
    """
    if _without(before, _VOLATILE) != _without(after, _VOLATILE):
        return True
    if fresh:
        return False
    if any(before.get(name) != after.get(name) for name in ("tokens", "progress", "counts")):
        return True
    old, new = before.get("position"), after.get("position")
    if old is None or new is None:
        return bool(old != new or before.get("message") != after.get("message"))
    moved = abs(int(old) - int(new))
    return moved > _POSITION_STEP * max(int(old), 1) or (int(new) < 3 and moved > 0)


def _without(status: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    plain = {name: value for name, value in status.items() if name not in names}
    plain["conditions"] = [
        {k: v for k, v in item.items() if k not in {"message", "lastTransitionTime"}}
        for item in status.get("conditions") or []
    ]
    return plain
