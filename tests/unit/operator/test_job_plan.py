"""What is done about an LLMJob."""

from typing import Any

import pytest

from llmjobs_core.jobs import JobRecord
from llmjobs_core.resources import LLMJob, parse_llmjob
from llmjobs_core.states import JobState
from llmjobs_operator.job_plan import Step, plan_job
from llmjobs_operator.objects import FINALIZER, parse_time
from llmjobs_testing.records import make_record

ENDED = "2026-01-01T00:00:00Z"
NOW_MS = parse_time(ENDED)


def make_llmjob(*, finalizers: tuple[str, ...] = (FINALIZER,), **spec: Any) -> LLMJob:
    request = {"body": {"messages": [{"role": "user", "content": "hi"}]}}
    return parse_llmjob(
        {
            "metadata": {
                "name": "a",
                "namespace": "team-a",
                "uid": "u",
                "finalizers": list(finalizers),
            },
            "spec": {"model": "m", "request": request, **spec},
        }
    )


def plan(job: LLMJob, record: JobRecord | None, *, ended: str | None = None) -> tuple[Step, ...]:
    found = plan_job(job, record, finished=ended is not None, ended=ended, now_ms=NOW_MS + 10_000)
    return found.steps


def test_a_new_job_is_queued_before_its_finalizer_is_put_on() -> None:
    assert plan(make_llmjob(finalizers=()), None) == (Step.SUBMIT,)


def test_a_job_that_is_queued_gets_its_finalizer() -> None:
    assert plan(make_llmjob(finalizers=()), make_record()) == (Step.ADD_FINALIZER,)


def test_a_job_that_has_ended_gets_no_finalizer_any_more() -> None:
    job, record = make_llmjob(finalizers=()), make_record(state=JobState.SUCCEEDED)
    assert plan(job, record, ended=ENDED) == ()


@pytest.mark.parametrize("state", [s for s in JobState if not s.is_terminal])
def test_a_wish_to_cancel_is_carried_out_in_every_live_state(state: JobState) -> None:
    job = make_llmjob(cancel=True, suspend=state is not JobState.SUSPENDED)
    assert plan(job, make_record(state=state)) == (Step.CANCEL,)


def test_a_cancelled_job_that_the_store_lost_comes_back_only_to_end() -> None:
    assert plan(make_llmjob(cancel=True), None) == (Step.SUBMIT, Step.CANCEL)


def test_a_job_that_has_ended_is_neither_cancelled_nor_submitted() -> None:
    job = make_llmjob(cancel=True)
    assert plan(job, make_record(state=JobState.SUCCEEDED)) == ()
    assert plan(job, None, ended=ENDED) == ()


@pytest.mark.parametrize(("ttl_s", "steps"), [(5, (Step.DELETE_OBJECT,)), (60, ()), (None, ())])
def test_an_ended_job_is_deleted_once_its_ttl_has_passed(
    ttl_s: int | None, steps: tuple[Step, ...]
) -> None:
    job = make_llmjob(ttlSecondsAfterFinished=ttl_s)
    assert plan(job, None, ended=ENDED) == steps
    assert plan(job, make_record(state=JobState.SUCCEEDED), ended=ENDED) == steps
