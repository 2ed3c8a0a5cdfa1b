"""Does a job that waits always say why, and never guess?"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from llmjobs_core.explain import WaitReason, explain_waiting, format_duration
from llmjobs_core.jobs import Counts, JobError, JobKind
from llmjobs_core.pools import PoolRegistration, PoolStats, Waiting
from llmjobs_core.states import JobReason, JobState
from llmjobs_testing.records import NOW_MS, POOL, make_record, make_stats

BUSY = make_stats()


@dataclass(frozen=True)
class Case:
    name: str
    want_reason: str
    want_words: str
    stats: PoolStats | None = BUSY
    waiting: Waiting | None = field(default_factory=lambda: Waiting(position=3, cost_ahead=1000))
    record: dict[str, Any] = field(default_factory=dict)
    want_position: int | None = None
    want_eta_s: float | None = None


def pool(**changes: Any) -> PoolRegistration:
    return PoolRegistration(key=POOL, models=("gemma-3-270m",), **changes)


CASES = [
    Case(
        "busy pool: place and time",
        WaitReason.WAITING_FOR_SLOT,
        "3 jobs are ahead; 4 of 4 slots are busy; it should start in about 20 s",
        want_position=3,
        want_eta_s=20,
    ),
    Case(
        "next with a free slot starts now",
        WaitReason.NEXT_IN_LINE,
        "it is next",
        stats=make_stats(running=1),
        waiting=Waiting(position=0, cost_ahead=100),
        want_position=0,
        want_eta_s=0,
    ),
    Case(
        "next in a full pool has the running work ahead",
        WaitReason.NEXT_IN_LINE,
        "about 8 s",
        waiting=Waiting(position=0, cost_ahead=400),
        want_position=0,
        want_eta_s=8,
    ),
    Case(
        "no rate, no estimate",
        WaitReason.WAITING_FOR_SLOT,
        "no rate is measured yet",
        stats=make_stats(cost_per_s=None),
        want_position=3,
    ),
    Case(
        "a rate of zero is no rate",
        WaitReason.WAITING_FOR_SLOT,
        "no rate is measured yet",
        stats=make_stats(cost_per_s=0.0),
        want_position=3,
    ),
    Case(
        "pool at zero",
        WaitReason.NO_WORKERS,
        "no worker of pool team-a/gemma is running yet; 3 jobs are ahead",
        stats=make_stats(slots=0, workers=0, running=0),
        want_position=3,
    ),
    Case(
        "the pool's own reason wins",
        "ImagePullFailed",
        "can't pull the image; it is next",
        stats=make_stats(
            slots=0,
            registration=pool(reason="ImagePullFailed", message="can't pull the image"),
        ),
        waiting=Waiting(position=0, cost_ahead=0),
        want_position=0,
    ),
    Case(
        "the pool's reason is not the job's once workers run",
        WaitReason.WAITING_FOR_SLOT,
        "jobs are ahead",
        stats=make_stats(registration=pool(reason="ImagePullFailed")),
        want_position=3,
        want_eta_s=20,
    ),
    Case(
        "pool being deleted",
        WaitReason.POOL_DELETING,
        "is being deleted",
        stats=make_stats(registration=pool(accepting=False)),
        want_position=3,
    ),
    Case("pool unreadable", WaitReason.POOL_UNKNOWN, "not known", stats=None, want_position=3),
    Case("place not asked for", WaitReason.WAITING_FOR_SLOT, "4 of 4 slots are busy", waiting=None),
    Case(
        "waits for its retry",
        WaitReason.RETRYING,
        "attempt 2 failed (http_503); it is tried again in 7 s",
        record={
            "not_before_ms": NOW_MS + 7000,
            "attempts": 2,
            "error": JobError("http_503", "overloaded"),
        },
        want_eta_s=7,
    ),
    Case(
        "a retry that is due waits like the rest",
        WaitReason.WAITING_FOR_SLOT,
        "jobs are ahead",
        record={"not_before_ms": NOW_MS - 1},
        want_position=3,
        want_eta_s=20,
    ),
    Case(
        "suspended",
        JobReason.SUSPENDED,
        "held by its owner",
        record={"state": JobState.SUSPENDED, "reason": JobReason.SUSPENDED},
    ),
    Case(
        "a batch that runs",
        JobReason.GENERATING,
        "5 of 20 lines have ended, 4 are running",
        record={
            "state": JobState.RUNNING,
            "reason": JobReason.GENERATING,
            "kind": JobKind.BATCH,
            "counts": Counts(total=20, queued=11, running=4, succeeded=4, failed=1),
        },
    ),
    Case(
        "failed with the engine's words",
        JobReason.REQUEST_FAILED,
        "the engine said no",
        record={
            "state": JobState.FAILED,
            "reason": JobReason.REQUEST_FAILED,
            "error": JobError("http_400", "the engine said no"),
        },
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_explanation_gives_place_time_and_words(case: Case) -> None:
    found = explain_waiting(make_record(**case.record), case.stats, case.waiting, NOW_MS)
    want_eta_ms = None if case.want_eta_s is None else NOW_MS + round(case.want_eta_s * 1000)
    assert (found.reason, found.position, found.eta_ms) == (
        case.want_reason,
        case.want_position,
        want_eta_ms,
    )
    assert case.want_words in found.message


@pytest.mark.parametrize("state", list(JobState))
def test_every_state_has_words(state: JobState) -> None:
    assert explain_waiting(make_record(state=state), None, None, NOW_MS).message


@pytest.mark.parametrize(
    ("seconds", "want"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (8.4, "8 s"),
        (190, "3 min 10 s"),
        (7500, "2 h 5 min"),
        (3600, "1 h"),
    ],
)
def test_durations_read_well(seconds: float, want: str) -> None:
    assert format_duration(seconds) == want
