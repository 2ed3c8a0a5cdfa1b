"""What the running stack tells about itself: one JSON file, written whole or not at all.

The supervisor writes it, the command line and scripts read it. It holds addresses and process
ids, no secrets.
"""

import os
import time
from enum import StrEnum
from pathlib import Path

import msgspec


class Phase(StrEnum):
    """Where the stack is."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Step(msgspec.Struct):
    """One thing that start-up does."""

    name: str
    status: str = "running"
    """``running``, ``done`` or ``failed``."""
    detail: str = ""
    started_s: float = 0.0
    seconds: float | None = None


class StackState(msgspec.Struct):
    """Everything that a script needs to drive the stack; empty where not known yet."""

    phase: Phase = Phase.STARTING
    supervisor_pid: int = 0
    gateway_url: str = ""
    exporter_url: str = ""
    redis_url: str = ""
    kubeconfig: str = ""
    kubectl: str = ""
    namespace: str = "default"
    data_dir: str = ""
    log_dir: str = ""
    pids: dict[str, int] = msgspec.field(default_factory=dict)
    steps: list[Step] = msgspec.field(default_factory=list)
    error: str = ""
    """Why it failed, in words."""
    error_log: str = ""
    """The log to read."""


def state_path(data_dir: Path) -> Path:
    """Return where the state of the stack in *data_dir* is written."""
    return data_dir / "state.json"


def write_state(state: StackState) -> None:
    """Write *state* whole: a reader never sees half of it."""
    path = state_path(Path(state.data_dir))
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2))
    part.replace(path)


def read_state(data_dir: Path) -> StackState | None:
    """Return the last state written, None if there was never a stack here.

    A stack whose supervisor is gone (a kill, a reboot) reads as stopped.
    """
    try:
        state = msgspec.json.decode(state_path(data_dir).read_bytes(), type=StackState)
    except FileNotFoundError:
        return None
    if state.phase not in {Phase.STOPPED, Phase.FAILED} and not is_alive(state.supervisor_pid):
        state.phase = Phase.STOPPED
    return state


def is_alive(pid: int) -> bool:
    """Return whether a process with this id runs and is not a zombie."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] != "Z"


def begin_step(state: StackState, name: str) -> Step:
    """Add a step that starts now, and write the state."""
    step = Step(name, started_s=time.time())
    state.steps.append(step)
    write_state(state)
    return step


def end_step(state: StackState, step: Step, status: str = "done", detail: str = "") -> None:
    """Close *step* with how long it took, and write the state."""
    step.status = status
    step.detail = detail or step.detail
    step.seconds = round(time.time() - step.started_s, 1)
    write_state(state)
