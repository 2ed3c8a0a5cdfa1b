"""A pool's status and what is wrong with its pods, in words. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llmjobs_core.pools import PoolStats
from llmjobs_core.resources.pool import PoolCondition
from llmjobs_operator.conditions import Fact, build_conditions
from llmjobs_operator.objects import format_time, parse_time
from llmjobs_operator.pool_objects import selector_text
from llmjobs_operator.scaling import ScalingDecision, ScalingReason

_BLOCKED = {
    "ErrImagePull": "ImagePullFailed",
    "ImagePullBackOff": "ImagePullFailed",
    "ErrImageNeverPull": "ImagePullFailed",
    "InvalidImageName": "ImagePullFailed",
    "CreateContainerConfigError": "ConfigMissing",
    "CreateContainerError": "ContainerFailed",
    "RunContainerError": "ContainerFailed",
    "CrashLoopBackOff": "CrashLoop",
}
_MESSAGE_MAX = 300
UNREADY_AFTER_S = 5
"""A worker that runs for so long without being ready has an engine that does not answer."""
STALLED_AFTER_S = 60
"""An engine that is unhealthy for so long needs a person."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why pods of the pool do not run."""

    reason: str
    message: str
    stalled: bool = True
    """False while it may well come right by itself."""
    warns: bool = True
    """Whether it is worth a warning Event; an engine that loads its model is not."""


def find_trouble(pods: Iterable[Mapping[str, Any]], *, now_ms: int) -> Trouble | None:
    """Return the first thing that keeps a pod from working; None if there is none."""
    pods = list(pods)
    return _find_blocked(pods) or next(
        (trouble for pod in pods if (trouble := _engine_trouble(pod, now_ms)) is not None), None
    )


def _find_blocked(pods: Iterable[Mapping[str, Any]]) -> Trouble | None:
    """Return the first thing that keeps a container from starting."""
    for pod in pods:
        status = pod.get("status") or {}
        for condition in status.get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                text = str(condition.get("message", ""))[:_MESSAGE_MAX]
                return Trouble("Unschedulable", f"a pod can't be placed: {text}")
        for item in [
            *(status.get("initContainerStatuses") or []),
            *(status.get("containerStatuses") or []),
        ]:
            trouble = _container_trouble(item)
            if trouble is not None:
                return trouble
    return None


def _container_trouble(item: Mapping[str, Any]) -> Trouble | None:
    waiting = (item.get("state") or {}).get("waiting") or {}
    reason = _BLOCKED.get(str(waiting.get("reason", "")))
    if reason is None:
        return None
    ended = (item.get("lastState") or {}).get("terminated") or {}
    if ended.get("reason") == "OOMKilled":
        return Trouble("OutOfMemory", f"container {item['name']} was killed for want of memory")
    text = str(waiting.get("message") or waiting["reason"])[:_MESSAGE_MAX]
    if reason == "CrashLoop":
        text = f"it ended with exit code {ended.get('exitCode', '?')} and is restarted again"
    return Trouble(reason, f"container {item['name']}: {text}")


def _engine_trouble(pod: Mapping[str, Any], now_ms: int) -> Trouble | None:
    """Return what a pod's conditions say of its engine, with the time since when.

    The words must not change with the time: they are written wherever a job waits for this pool.
    """
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    engine = _find_container(status.get("initContainerStatuses"), "engine")
    if engine is not None and not engine.get("started"):
        return _starting_trouble(name, engine, str(status.get("startTime", "")), now_ms)
    worker = _find_container(status.get("containerStatuses"), "worker")
    began = ((worker or {}).get("state") or {}).get("running")
    if worker is None or worker.get("ready") or not began:
        return None
    since = max(_ready_changed(status), str(began.get("startedAt", "")))
    age_s = _age_s(since, now_ms)
    if age_s < UNREADY_AFTER_S:
        return None
    text = f"the engine of pod {name} fails its health check since {since}"
    return Trouble("EngineUnhealthy", text, stalled=age_s >= STALLED_AFTER_S)


def _starting_trouble(
    name: str, engine: Mapping[str, Any], pod_since: str, now_ms: int
) -> Trouble | None:
    running = (engine.get("state") or {}).get("running")
    if engine.get("restartCount", 0) > 0:
        text = (
            f"the engine of pod {name} was started again {engine['restartCount']} times without "
            f"getting healthy; the pod is there since {pod_since}"
        )
        return Trouble(
            "EngineUnhealthy", text, stalled=_age_s(pod_since, now_ms) >= STALLED_AFTER_S
        )
    if not running:
        return None
    text = f"the engine of pod {name} is starting since {running.get('startedAt', '')}"
    return Trouble("EngineStarting", text, stalled=False, warns=False)


def _find_container(items: Iterable[Mapping[str, Any]] | None, name: str) -> Any:
    return next((item for item in items or () if item.get("name") == name), None)


def _ready_changed(status: Mapping[str, Any]) -> str:
    return next(
        (
            str(item.get("lastTransitionTime", ""))
            for item in status.get("conditions") or []
            if item.get("type") == "Ready" and item.get("status") == "False"
        ),
        "",
    )


def _age_s(since: str, now_ms: int) -> float:
    return (now_ms - parse_time(since)) / 1000 if since else 0.0


def build_pool_status(
    before: Mapping[str, Any],
    *,
    name: str,
    generation: int,
    decision: ScalingDecision,
    desired: int,
    deployment: Mapping[str, Any] | None,
    stats: PoolStats | None,
    trouble: Trouble | None,
    scaled: bool,
    now_ms: int,
) -> dict[str, Any]:
    """Return the whole status; *scaled* says that replicas were changed just now."""
    observed = (deployment or {}).get("status") or {}
    replicas, ready = int(observed.get("replicas", 0)), int(observed.get("readyReplicas", 0))
    now = format_time(now_ms)
    automatic = decision.reason not in {
        ScalingReason.MANUAL,
        ScalingReason.PAUSED,
        ScalingReason.EXTERNAL,
    }
    known = decision.reason is not ScalingReason.STORE_UNREACHABLE
    stalls = trouble if trouble is not None and trouble.stalled and ready == 0 else None
    facts = [
        _ready_fact(desired, ready, trouble),
        Fact(
            PoolCondition.STALLED,
            stalls is not None,
            stalls.reason if stalls else "NotStalled",
            stalls.message if stalls else "",
        ),
        Fact(
            PoolCondition.SCALING_ACTIVE,
            automatic and known,
            str(decision.reason),
            decision.message,
        ),
    ]
    status: dict[str, Any] = {
        "conditions": build_conditions(
            before.get("conditions") or [], facts, generation=generation, now=now
        ),
        "observedGeneration": generation,
        "replicas": replicas,
        "readyReplicas": ready,
        "desiredReplicas": desired,
        "selector": selector_text(name),
        "scalingMessage": decision.message[:1024],
    }
    if stats is not None:
        status |= {"queued": stats.queued, "running": stats.running}
    last = now if scaled else before.get("lastScaleTime")
    return status | ({"lastScaleTime": last} if last else {})


def build_invalid_pool_status(
    before: Mapping[str, Any], message: str, *, name: str, generation: int, now_ms: int
) -> dict[str, Any]:
    """Return the status of a pool whose spec can't be acted on; its pods are left alone."""
    facts = [
        Fact(PoolCondition.READY, False, "InvalidSpec", message),
        Fact(PoolCondition.STALLED, True, "InvalidSpec", message),
        Fact(PoolCondition.SCALING_ACTIVE, False, "InvalidSpec", message),
    ]
    kept = {k: v for k, v in before.items() if k not in {"conditions", "observedGeneration"}}
    return {
        **kept,
        "conditions": build_conditions(
            before.get("conditions") or [],
            facts,
            generation=generation,
            now=format_time(now_ms),
        ),
        "observedGeneration": generation,
        "selector": selector_text(name),
        "scalingMessage": "",
    }


def _ready_fact(desired: int, ready: int, trouble: Trouble | None) -> Fact:
    if trouble is not None and ready == 0:
        return Fact(PoolCondition.READY, False, trouble.reason, trouble.message)
    if desired == 0:
        return Fact(PoolCondition.READY, True, "ScaledToZero", "a job starts the first replica")
    if ready == 0:
        return Fact(PoolCondition.READY, False, "Starting", f"0 of {desired} replicas are ready")
    return Fact(PoolCondition.READY, True, "Ready", f"{ready} of {desired} replicas are ready")


_VOLATILE = ("queued", "running", "scalingMessage")


def is_pool_status_worth_writing(
    before: Mapping[str, Any], after: Mapping[str, Any], *, fresh: bool
) -> bool:
    """Return whether *after* tells something new; numbers that move only when not *fresh*."""
    if _settled(before) != _settled(after):
        return True
    return not fresh and any(before.get(name) != after.get(name) for name in _VOLATILE)


def _settled(status: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in status.items() if name not in _VOLATILE}
    plain["conditions"] = [
        {k: v for k, v in item.items() if k not in {"message", "lastTransitionTime"}}
        for item in status.get("conditions") or []
    ]
    return plain
