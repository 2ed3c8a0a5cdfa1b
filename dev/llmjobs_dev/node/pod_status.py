"""What the API server is told of a pod: status from the state of its containers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 60.0
"""Shorter than a kubelet's 10 s to 5 min: this node is for trying things out."""


@dataclass(slots=True)
class ContainerState:
    """One container as it stands; times are RFC 3339."""

    name: str
    image: str
    is_init: bool = False
    is_sidecar: bool = False
    restarts: int = 0
    started_at: str = ""
    """Empty when it does not run."""
    exit_code: int | None = None
    """Of the last end; None before."""
    finished_at: str = ""
    last_started_at: str = ""
    waiting_reason: str = "PodInitializing"
    waiting_message: str = ""
    startup_passed: bool = False
    ready: bool = False
    pid: int = 0


def backoff_s(restarts: int) -> float:
    """Return how long a crashed container waits before it is started again."""
    return float(min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** max(0, restarts)))


def should_restart(policy: str, state: ContainerState) -> bool:
    """Return whether an ended container is started again."""
    if state.is_sidecar:
        return True
    if state.is_init:
        return policy != "Never" and state.exit_code != 0
    return policy == "Always" or (policy == "OnFailure" and state.exit_code != 0)


def _terminated(state: ContainerState) -> dict[str, Any]:
    code = state.exit_code or 0
    return {
        "exitCode": code if code >= 0 else 128 - code,
        "reason": "Completed" if code == 0 else "Error",
        "startedAt": state.last_started_at or None,
        "finishedAt": state.finished_at or None,
    }


def build_container_status(state: ContainerState) -> dict[str, Any]:
    """Return one entry of containerStatuses."""
    if state.started_at:
        now: dict[str, Any] = {"running": {"startedAt": state.started_at}}
    elif state.waiting_reason:
        now = {"waiting": {"reason": state.waiting_reason, "message": state.waiting_message}}
    else:
        now = {"terminated": _terminated(state)}
    status: dict[str, Any] = {
        "name": state.name,
        "image": state.image,
        "imageID": "",
        "containerID": f"process://{state.pid}" if state.pid else "",
        "restartCount": state.restarts,
        "ready": state.ready,
        "started": bool(state.started_at) and state.startup_passed,
        "state": now,
        "lastState": {},
    }
    if state.exit_code is not None and "terminated" not in now:
        status["lastState"] = {"terminated": _terminated(state)}
    return status


def _phase(states: Sequence[ContainerState], policy: str) -> str:
    mains = [state for state in states if not state.is_init]
    ended = [s for s in mains if not s.started_at and not s.waiting_reason]
    if mains and len(ended) == len(mains):
        failed = any(state.exit_code != 0 for state in mains)
        return "Failed" if failed else "Succeeded"
    failed_init = any(
        s.is_init and not s.is_sidecar and not s.started_at and not s.waiting_reason and s.exit_code
        for s in states
    )
    if failed_init and policy == "Never":
        return "Failed"
    if any(state.started_at or state.exit_code is not None for state in mains):
        return "Running"
    return "Pending"


def build_pod_status(
    pod: Mapping[str, Any],
    states: Sequence[ContainerState],
    *,
    pod_ip: str,
    started_at: str,
    now: str,
) -> dict[str, Any]:
    """Return the pod's status; *started_at* is when it started here, both times RFC 3339.

    A condition keeps its transition time from the pod's last status while it does not change.
    """
    policy = pod["spec"].get("restartPolicy", "Always")
    phase = _phase(states, policy)
    counted = [s for s in states if not s.is_init or s.is_sidecar]
    ready = all(state.ready for state in counted) and phase == "Running"
    initialized = all(
        s.startup_passed if s.is_sidecar else s.exit_code == 0 for s in states if s.is_init
    )
    unready = ", ".join(state.name for state in counted if not state.ready)
    before = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or []}
    conditions = [
        _condition(before, "PodScheduled", True, now),
        _condition(before, "Initialized", initialized, now),
        _condition(before, "ContainersReady", ready, now, unready),
        _condition(before, "Ready", ready, now, unready),
    ]
    return {
        "phase": phase,
        "conditions": conditions,
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "startTime": started_at,
        "initContainerStatuses": [build_container_status(s) for s in states if s.is_init],
        "containerStatuses": [build_container_status(s) for s in states if not s.is_init],
    }


def _condition(
    before: Mapping[str, Mapping[str, Any]], kind: str, holds: bool, now: str, unready: str = ""
) -> dict[str, Any]:
    status = "True" if holds else "False"
    last = before.get(kind)
    since = last["lastTransitionTime"] if last and last.get("status") == status else now
    condition: dict[str, Any] = {"type": kind, "status": status, "lastTransitionTime": since}
    if not holds and unready:
        condition["reason"] = "ContainersNotReady"
        condition["message"] = f"containers with unready status: [{unready}]"
    return condition
