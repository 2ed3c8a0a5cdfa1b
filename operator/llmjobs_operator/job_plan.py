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
    """
    if job.metadata.deletion_timestamp is not None:
        if FINALIZER not in job.metadata.finalizers:
            return JobPlan(())
        return JobPlan((Step.CANCEL_AND_FORGET, Step.REMOVE_FINALIZER))
    steps: list[Step] = []
    if FINALIZER not in job.metadata.finalizers:
        steps.append(Step.ADD_FINALIZER)
    if record is None:
        if not finished:
            steps.append(Step.SUBMIT)
        if not finished and job.spec.cancel:
            # An emptied store: the wish was heard, so the end must be told.
            steps.append(Step.CANCEL)
        return _with_expiry(job, steps, ended if finished else None, now_ms)
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
    ttl_s = job.spec.ttl_seconds_after_finished
    if ttl_s is None or ended is None:
        return JobPlan(tuple(steps))
    left_ms = parse_time(ended) + ttl_s * 1000 - now_ms
    if left_ms > 0:
        return JobPlan(tuple(steps), again_in_s=left_ms / 1000 + 0.1)
    return JobPlan((*steps, Step.DELETE_OBJECT))
