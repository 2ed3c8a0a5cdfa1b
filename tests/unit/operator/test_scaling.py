"""How many replicas a pool should have."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmjobs_core.names import PoolKey
from llmjobs_core.pools import PoolRegistration, PoolStats
from llmjobs_core.resources.pool import LLMWorkerPoolSpec
from llmjobs_operator.scaling import (
    Need,
    ScalingDecision,
    ScalingReason,
    decide_replicas,
    read_limits,
    remember,
)

NOW_MS = 1_000_000_000


def make_spec(**changes: object) -> LLMWorkerPoolSpec:
    scaling = {
        "maxReplicas": 4,
        "idleSecondsToZero": 60,
        "scaleDownStabilizationSeconds": 30,
        **(changes.pop("scaling", None) or {}),  # type: ignore[dict-item]
    }
    spec = {
        "models": ["m"],
        "engine": {"external": {"baseURL": "http://engine"}},
        "concurrency": 4,
        "scaling": scaling,
        **changes,
    }
    return LLMWorkerPoolSpec.model_validate(spec)


def make_stats(
    queued: int = 0, running: int = 0, idle_s: float = 0, **changes: object
) -> PoolStats:
    fields: dict[str, object] = {
        "registration": PoolRegistration(key=PoolKey("n", "p"), models=("m",)),
        "backlog_jobs": queued,
        "queued": queued,
        "dispatched": 0,
        "running": running,
        "slots": 0,
        "workers": 0,
        "queued_cost": 0,
        "cost_per_s": None,
        "requests_per_s": None,
        "oldest_queued_ms": None,
        "last_active_ms": NOW_MS - int(idle_s * 1000),
        "now_ms": NOW_MS,
    }
    return PoolStats(**(fields | changes))  # type: ignore[arg-type]


def decide(
    stats: PoolStats | None,
    *,
    current: int = 0,
    history: tuple[Need, ...] = (),
    spec: LLMWorkerPoolSpec | None = None,
) -> ScalingDecision:
    return decide_replicas(
        spec or make_spec(), stats, current=current, ready=current, history=history, now_ms=NOW_MS
    )


def test_one_waiting_request_starts_the_first_replica_at_once() -> None:
    assert decide(make_stats(queued=1)).replicas == 1


def test_replicas_follow_waiting_and_running_requests() -> None:
    assert decide(make_stats(queued=6, running=4), current=1).replicas == 3


def test_the_maximum_is_never_passed() -> None:
    assert decide(make_stats(queued=1000)).replicas == 4


def test_from_zero_no_stabilisation_delays_the_first_replicas() -> None:
    spec = make_spec(scaling={"scaleUpStabilizationSeconds": 300})
    assert decide(make_stats(queued=9), spec=spec).replicas == 3


def test_a_higher_need_must_last_where_that_is_asked_for() -> None:
    spec = make_spec(scaling={"scaleUpStabilizationSeconds": 30})
    decision = decide(make_stats(queued=9), current=1, spec=spec)
    assert (decision.replicas, decision.reason) == (1, ScalingReason.STABILIZING)
    lasted = (Need(NOW_MS - 31_000, 3), Need(NOW_MS - 10_000, 3))
    assert decide(make_stats(queued=9), current=1, spec=spec, history=lasted).replicas == 3


def test_a_lower_need_takes_replicas_away_only_after_the_window() -> None:
    short = (Need(NOW_MS - 10_000, 1),)
    assert decide(make_stats(running=1), current=3, history=short).replicas == 3
    lasted = (Need(NOW_MS - 31_000, 1), Need(NOW_MS - 10_000, 1))
    assert decide(make_stats(running=1), current=3, history=lasted).replicas == 1


def test_a_peak_within_the_window_keeps_its_replicas() -> None:
    history = (Need(NOW_MS - 31_000, 1), Need(NOW_MS - 10_000, 2))
    assert decide(make_stats(running=1), current=3, history=history).replicas == 2


def test_an_idle_pool_goes_to_its_minimum_after_the_idle_time() -> None:
    assert decide(make_stats(idle_s=59), current=1).replicas == 1
    assert decide(make_stats(idle_s=60), current=1).replicas == 0
    assert decide(make_stats(idle_s=60), current=3, spec=make_spec(
        scaling={"minReplicas": 2})).replicas == 2  # fmt: skip


def test_unknown_depth_decides_nothing() -> None:
    decision = decide(None, current=3)
    assert (decision.replicas, decision.reason) == (None, ScalingReason.STORE_UNREACHABLE)


def test_manual_replicas_win_over_everything() -> None:
    decision = decide(make_stats(queued=100), current=1, spec=make_spec(replicas=2))
    assert (decision.replicas, decision.reason) == (2, ScalingReason.MANUAL)


def test_a_paused_pool_is_left_as_it_is() -> None:
    decision = decide(make_stats(queued=9), current=1, spec=make_spec(scaling={"paused": True}))
    assert (decision.replicas, decision.reason) == (None, ScalingReason.PAUSED)


def test_the_drain_target_takes_over_once_a_rate_is_known() -> None:
    spec = make_spec(scaling={"targetDrainSeconds": 10, "maxReplicas": 100})
    stats = make_stats(queued=400, requests_per_s=4.0)
    # One replica does 4 a second: 40 in 10 s, so 400 need 10.
    assert decide(stats, current=1, spec=spec).replicas == 10


def test_more_claims_than_slots_are_no_reason_for_a_replica() -> None:
    spec = make_spec(scaling={"targetDrainSeconds": 10, "maxReplicas": 100})
    stats = make_stats(running=6, requests_per_s=100.0)
    assert decide(stats, current=1, spec=spec).replicas == 1


@given(
    queued=st.integers(0, 10_000),
    running=st.integers(0, 500),
    current=st.integers(0, 20),
    idle_s=st.floats(0, 1000),
)
def test_the_decision_is_within_bounds_and_never_zero_with_work(
    queued: int, running: int, current: int, idle_s: float
) -> None:
    replicas = decide(make_stats(queued, running, idle_s), current=current).replicas
    assert replicas is not None
    assert replicas <= max(current, 4)
    assert replicas > 0 or queued + running == 0


@given(
    needs=st.lists(st.integers(1, 4), min_size=1, max_size=60),
    queued=st.integers(1, 12),
    current=st.integers(1, 4),
)
def test_a_history_that_keeps_only_what_matters_decides_the_same(
    needs: list[int], queued: int, current: int
) -> None:
    since_ms = NOW_MS - 1000 * len(needs)
    whole = tuple(Need(since_ms + 1000 * at, count) for at, count in enumerate(needs))
    kept: list[Need] = []
    for need in whole:
        remember(kept, need, 30)
    stats = make_stats(queued=queued)
    assert decide(stats, current=current, history=tuple(kept)) == decide(
        stats, current=current, history=whole
    )


def test_a_need_that_stays_the_same_is_two_readings_however_long_it_lasts() -> None:
    history: list[Need] = []
    for at_ms in range(0, 3_600_000, 500):
        remember(history, Need(at_ms, 2), 60)
    assert [need.at_ms for need in history] == [0, 3_599_500]


def test_in_external_mode_replicas_are_left_as_they_are_and_the_need_is_told() -> None:
    spec = make_spec(scaling={"mode": "external"})
    decision = decide_replicas(
        spec, make_stats(queued=12), current=1, ready=1, history=(), now_ms=NOW_MS
    )
    assert (decision.replicas, decision.reason) == (None, ScalingReason.EXTERNAL)
    assert decision.needed == 3


def test_in_external_mode_the_scale_subresource_decides() -> None:
    spec = make_spec(scaling={"mode": "external"}, replicas=2)
    decision = decide_replicas(
        spec, make_stats(queued=12), current=0, ready=0, history=(), now_ms=NOW_MS
    )
    assert (decision.replicas, decision.needed) == (2, 3)


def test_in_external_mode_an_unreachable_store_leaves_the_need_unknown() -> None:
    spec = make_spec(scaling={"mode": "external"}, replicas=2)
    decision = decide_replicas(spec, None, current=2, ready=2, history=(), now_ms=NOW_MS)
    assert (decision.replicas, decision.needed) == (2, None)


@pytest.mark.parametrize(
    ("changes", "limits"),
    [
        ({"scaling": {"minReplicas": 1, "maxReplicas": 5}}, (1, 5)),
        ({"scaling": {"maxReplicas": 5}, "replicas": 2}, (2, 2)),
        ({"scaling": {"mode": "external", "maxReplicas": 5}, "replicas": 2}, None),
    ],
)
def test_limits_are_told_where_they_are_ours(
    changes: dict[str, Any], limits: tuple[int, int] | None
) -> None:
    assert read_limits(make_spec(**changes)) == limits
