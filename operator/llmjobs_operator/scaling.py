"""How many replicas a pool should have: a pure function of what waits, runs and was measured.

Unknown is not zero: without a reading nothing is decided. Work from nothing is met at once; a
lower need must last before replicas are taken away.
"""

import math
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from llmjobs_core.pools import PoolStats
from llmjobs_core.resources.pool import LLMWorkerPoolSpec, Scaling, ScalingMode


class ScalingReason(StrEnum):
    """Why a number of replicas was decided on, or left."""

    STORE_UNREACHABLE = "StoreUnreachable"
    MANUAL = "ManualReplicas"
    EXTERNAL = "External"
    PAUSED = "Paused"
    BACKLOG = "Backlog"
    STEADY = "Steady"
    STABILIZING = "Stabilizing"
    EXCESS = "ExcessReplicas"
    IDLE = "Idle"
    WAITING_FOR_IDLE = "WaitingForIdle"


@dataclass(frozen=True, slots=True)
class Need:
    """How many replicas were needed at a time, for the stabilisation windows."""

    at_ms: int
    replicas: int


@dataclass(frozen=True, slots=True)
class ScalingDecision:
    """The outcome; *replicas* None leaves the Deployment as it is."""

    replicas: int | None
    reason: ScalingReason
    message: str
    need: Need | None = None
    """To remember for the windows; None when nothing was measured."""
    needed: int | None = None
    """What automatic scaling has, or would have, now; None when that is not known."""


def read_limits(spec: LLMWorkerPoolSpec) -> tuple[int, int] | None:
    """Return the fewest and most replicas we may ask for; None where others scale the pool."""
    if spec.scaling.mode is ScalingMode.EXTERNAL:
        return None
    if spec.replicas is not None:
        return spec.replicas, spec.replicas
    return spec.scaling.min_replicas, spec.scaling.max_replicas


def decide_replicas(
    spec: LLMWorkerPoolSpec,
    stats: PoolStats | None,
    *,
    current: int,
    ready: int,
    history: Sequence[Need],
    now_ms: int,
) -> ScalingDecision:
    """Return the number of replicas for now.

    *current* is what the Deployment asks for, *ready* what is ready of it; *history* holds earlier
    needs, oldest first, at least as long as the windows.
    """
    measured = _decide_automatically(
        spec, stats, current=current, ready=ready, history=history, now_ms=now_ms
    )
    if spec.scaling.mode is ScalingMode.EXTERNAL:
        return _leave_to_others(spec, measured, current=current)
    if spec.replicas is not None:
        text = f"spec.replicas fixes {spec.replicas} replicas; remove it to scale automatically"
        return ScalingDecision(spec.replicas, ScalingReason.MANUAL, text)
    if spec.scaling.paused:
        return ScalingDecision(
            None, ScalingReason.PAUSED, f"scaling is paused at {current} replicas"
        )
    return measured


def _leave_to_others(
    spec: LLMWorkerPoolSpec, measured: ScalingDecision, *, current: int
) -> ScalingDecision:
    """Return what another controller wrote to ``spec.replicas``, or the Deployment as it is."""
    now = current if spec.replicas is None else spec.replicas
    known = "not known" if measured.needed is None else measured.needed
    return ScalingDecision(
        spec.replicas,
        ScalingReason.EXTERNAL,
        f"another controller decides on replicas: {now} now; by the work it would be {known}",
        measured.need,
        measured.needed,
    )


def _decide_automatically(
    spec: LLMWorkerPoolSpec,
    stats: PoolStats | None,
    *,
    current: int,
    ready: int,
    history: Sequence[Need],
    now_ms: int,
) -> ScalingDecision:
    if stats is None:
        text = f"what waits is not known now; staying at {current} replicas"
        return ScalingDecision(None, ScalingReason.STORE_UNREACHABLE, text)
    scaling = spec.scaling
    if stats.queued + stats.running == 0:
        decision = _decide_idle(scaling, stats, current=current, now_ms=now_ms)
    else:
        decision = _decide_busy(
            spec, stats, current=current, ready=ready, history=history, now_ms=now_ms
        )
    return replace(decision, needed=decision.replicas)


def _decide_busy(
    spec: LLMWorkerPoolSpec,
    stats: PoolStats,
    *,
    current: int,
    ready: int,
    history: Sequence[Need],
    now_ms: int,
) -> ScalingDecision:
    scaling, wanted = spec.scaling, _needed(spec, stats, current, ready)
    need = Need(now_ms, wanted)
    demand = f"{stats.queued} requests wait and {stats.running} run"
    if wanted > current:
        lasting = _within(history, need, scaling.scale_up_stabilization_seconds)
        target = wanted if current == 0 else max(current, min(lasting, default=current))
        if target > current:
            text = f"{demand}: from {current} to {target} replicas"
            return ScalingDecision(target, ScalingReason.BACKLOG, text, need)
        text = f"{demand}: {wanted} replicas are needed, waiting for this to last"
        return ScalingDecision(current, ScalingReason.STABILIZING, text, need)
    if wanted < current:
        lasting = _within(history, need, scaling.scale_down_stabilization_seconds)
        target = min(current, max(lasting, default=current))
        if target < current:
            text = f"{demand}: {target} replicas are enough, down from {current}"
            return ScalingDecision(target, ScalingReason.EXCESS, text, need)
        text = f"{demand}: {wanted} replicas would do, waiting for this to last"
        return ScalingDecision(current, ScalingReason.STABILIZING, text, need)
    return ScalingDecision(
        current, ScalingReason.STEADY, f"{demand}: {current} replicas are right", need
    )


def _needed(spec: LLMWorkerPoolSpec, stats: PoolStats, current: int, ready: int) -> int:
    scaling = spec.scaling
    target = scaling.target_per_replica or spec.concurrency
    by_count = math.ceil((stats.queued + stats.running) / target)
    wanted = by_count
    if scaling.target_drain_seconds and stats.requests_per_s and ready > 0:
        rate = stats.requests_per_s / ready
        wanted = math.ceil(stats.queued / (rate * scaling.target_drain_seconds))
    # Work in flight keeps its replicas: scaling in must not move what runs. It asks for no more, as
    # where answers are short more is claimed than there are slots.
    in_flight = min(current, math.ceil(stats.running / spec.concurrency))
    return _clamp(scaling, max(1, wanted, in_flight))


def _decide_idle(
    scaling: Scaling, stats: PoolStats, *, current: int, now_ms: int
) -> ScalingDecision:
    idle_s = (now_ms - (stats.last_active_ms or 0)) / 1000 if stats.last_active_ms else math.inf
    if idle_s >= scaling.idle_seconds_to_zero:
        target = scaling.min_replicas
        need = Need(now_ms, target)
        if target == current:
            return ScalingDecision(target, ScalingReason.STEADY, "nothing waits or runs", need)
        text = f"nothing to do for {scaling.idle_seconds_to_zero} s: from {current} to {target}"
        return ScalingDecision(target, ScalingReason.IDLE, text, need)
    kept = current
    if idle_s >= scaling.scale_down_stabilization_seconds:
        kept = min(current, 1)
    target = _clamp(scaling, kept)
    need = Need(now_ms, target)
    left = math.ceil(scaling.idle_seconds_to_zero - idle_s)
    text = f"nothing waits or runs; {target} replicas stay for {left} s more"
    return ScalingDecision(target, ScalingReason.WAITING_FOR_IDLE, text, need)


def _clamp(scaling: Scaling, replicas: int) -> int:
    return max(scaling.min_replicas, min(scaling.max_replicas, replicas))


def remember(history: MutableSequence[Need], need: Need, window_s: int) -> None:
    """Add *need* to *history*, and drop what no window of *window_s* will ask for.

    Of equal needs in a row the first and the last are kept: they tell since when and until when.
    """
    if len(history) > 1 and history[-1].replicas == history[-2].replicas == need.replicas:
        history[-1] = need
    else:
        history.append(need)
    since = need.at_ms - window_s * 1000
    while len(history) > 1 and history[1].at_ms <= since:
        del history[0]


def longest_window_s(scaling: Scaling) -> int:
    """Return how far back needs matter."""
    return max(scaling.scale_up_stabilization_seconds, scaling.scale_down_stabilization_seconds)


def _within(history: Sequence[Need], need: Need, window_s: int) -> list[int]:
    """Return what was needed within the window up to now; empty if it is not covered yet."""
    if window_s == 0:
        return [need.replicas]
    since = need.at_ms - window_s * 1000
    if not history or history[0].at_ms > since:
        return []
    lasting = [need.replicas]
    for item in reversed(history):
        if item.at_ms < since:
            break
        lasting.append(item.replicas)
    return lasting
