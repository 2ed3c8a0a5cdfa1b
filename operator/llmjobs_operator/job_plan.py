"""What to do about an LLMJob, from what it asks for and what the store knows. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from llmjobs_core.jobs import JobRecord
from llmjobs_core.resources import LLMJob
from llmjobs_core.states import JobState
from llmjobs_operator.objects import FINALIZER, parse_time


class Step(StrEnum):
    """One thing to do; the order of a plan is the order of doing."""

    ADD_FINALIZER = "add_finalizer"
    SUBMIT = "submit"
    SUSPEND = "suspend"
    RESUME = "resume"
    CANCEL = "cancel"
    RECLASSIFY = "reclassify"
    CANCEL_AND_FORGET = "cancel_and_forget"
    REMOVE_FINALIZER = "remove_finalizer"
    DELETE_OBJECT = "delete_object"


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What to do, and when to look again if nothing happens."""

    steps: tuple[Step, ...]
    again_in_s: float | None = None


def plan_job(
    job: LLMJob, record: JobRecord | None, *, finished: bool, ended: str | None, now_ms: int
) -> JobPlan:
    """Return the steps that bring the store in line with *job*.

    *finished* says that the object's status already tells an end: then a missing record means that
    its TTL has passed, and nothing is submitted again. *ended* is the status's ``completionTime``.

    An LLMJob gets our finalizer after it was queued, and only while its job lives: so more of a
    burst are queued in a second, and short jobs cost a write less. Without it the event of the
    deletion, or the audit at the next start, ends and removes the job.
    """
    if job.metadata.deletion_timestamp is not None:
        if FINALIZER not in job.metadata.finalizers:
            return JobPlan(())
        return JobPlan((Step.CANCEL_AND_FORGET, Step.REMOVE_FINALIZER))
    if record is None and not finished:
        # Cancelled: the store was emptied. The wish was heard, so the end must be told.
        return JobPlan((Step.SUBMIT, Step.CANCEL) if job.spec.cancel else (Step.SUBMIT,))
    if record is None:
        return _with_expiry(job, [], ended, now_ms)
    steps: list[Step] = []
    if not record.state.is_terminal and FINALIZER not in job.metadata.finalizers:
        steps.append(Step.ADD_FINALIZER)
    steps += _live_steps(job, record)
    if not record.state.is_terminal and record.job_class is not job.spec.job_class:
        steps.append(Step.RECLASSIFY)
    return _with_expiry(job, steps, ended if finished else None, now_ms)


def _live_steps(job: LLMJob, record: JobRecord) -> list[Step]:
    if job.spec.cancel:
        return [] if record.state.is_terminal else [Step.CANCEL]
    if job.spec.suspend and record.state in {JobState.QUEUED, JobState.RUNNING}:
        return [Step.SUSPEND]
    if not job.spec.suspend and record.state is JobState.SUSPENDED:
        return [Step.RESUME]
    # An operator died between submitting the batch and sealing it.
    return [Step.SUBMIT] if record.state is JobState.PENDING else []


def _with_expiry(job: LLMJob, steps: list[Step], ended: str | None, now_ms: int) -> JobPlan:
    again_in_s = plan_expiry(job.spec.ttl_seconds_after_finished, ended, now_ms=now_ms)
    if again_in_s is None or again_in_s > 0:
        return JobPlan(tuple(steps), again_in_s=again_in_s)
    return JobPlan((*steps, Step.DELETE_OBJECT))


def plan_expiry(ttl_s: int | None, ended: str | None, *, now_ms: int) -> float | None:
    """Return in how many seconds an object's time to live has passed; 0 if it has, None if never.

    *ended* is the status's ``completionTime``; None before the end.
    """
    if ttl_s is None or ended is None:
        return None
    left_ms = parse_time(ended) + ttl_s * 1000 - now_ms
    return left_ms / 1000 + 0.1 if left_ms > 0 else 0.0
