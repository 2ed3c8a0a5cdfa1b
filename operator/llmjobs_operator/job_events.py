"""Which Events to post when an LLMJob's status changes. Pure; each transition once.

That a job was queued, has started or has succeeded is told by its conditions, with the time: an
Event would say the same again, at the price of one more write for every job. Events tell what went
another way than planned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmjobs_core.resources.llmjob import JobCondition
from llmjobs_operator.conditions import is_true

_ENDINGS = {"Failed", "Cancelled", "Expired"}


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An Event to post."""

    reason: str
    message: str
    warning: bool = False


def plan_job_events(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[NewEvent]:
    """Return the Events that tell what changed from *before* to *after*."""
    events: list[NewEvent] = []
    reason, message = str(after.get("reason", "")), str(after.get("message", ""))
    accepted = is_true(after, JobCondition.ACCEPTED)
    if not accepted and before.get("reason") != reason:
        return [NewEvent(reason, message, warning=True)]
    suspended = is_true(after, JobCondition.SUSPENDED)
    if suspended != is_true(before, JobCondition.SUSPENDED):
        word = "Suspended" if suspended else "Resumed"
        events.append(NewEvent(word, message))
    retried = _count(after, "retried") - _count(before, "retried")
    if retried > 0 and before:
        events.append(NewEvent("Retried", f"{retried} requests were run again: {message}"))
    finished = is_true(after, JobCondition.FINISHED)
    phase = str(after.get("phase", ""))
    if finished and phase != "Succeeded" and not is_true(before, JobCondition.FINISHED):
        word = phase if phase in _ENDINGS else "Finished"
        text = f"{message} ({after.get('progress', '')}, {after.get('duration', '')})"
        events.append(NewEvent(word, text, warning=True))
    return events


def _count(status: Mapping[str, Any], name: str) -> int:
    counts: Mapping[str, Any] = status.get("counts") or {}
    return int(counts.get(name, 0))
