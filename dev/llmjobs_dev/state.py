"""What the running stack tells about itself: one JSON file, written whole or not at all.

The supervisor writes it, the command line and scripts read it. It holds addresses and process
ids, no secrets.
"""

import os
import time
from enum import StrEnum
from pathlib import Path

import msgspec

from llmjobs_dev.lock import is_locked


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


def supervisor_log(data_dir: Path) -> Path:
    """Return where the supervisor of *data_dir* writes what it does."""
    return data_dir / "logs" / "supervisor.log"


def read_state(data_dir: Path) -> StackState | None:
    """Return the last state written, None if there was never a stack here.

    A stack whose supervisor is gone (a kill, a reboot) reads as stopped.
    """
    try:
        state = msgspec.json.decode(state_path(data_dir).read_bytes(), type=StackState)
    except FileNotFoundError:
        return None
    if state.phase not in {Phase.STOPPED, Phase.FAILED} and not is_locked(data_dir):
        state.phase = Phase.STOPPED
        state.pids = {}
    return state


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


def describe_progress(state: StackState, step: Step, detail: str) -> None:
    """Say what a running step is at, and write the state."""
    step.detail = detail
    write_state(state)


def default_data_dir() -> Path:
    """Return the folder that holds all data of the local stack."""
    override = os.environ.get("LLMJOBS_DEV_DIR")
    if override:
        return Path(override)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "llmjobs" / "dev"
