"""Starting, following and ending the local stack's supervisor process.

The stack's truth is its state file and its lock; this module never guesses from process names.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from llmjobs_dev.lock import ALREADY_RUNS, is_locked, make_private
from llmjobs_dev.state import Phase, StackState, read_state, supervisor_log

POLL_S = 0.1
STOP_TIMEOUT_S = 60.0


class StackFailedError(RuntimeError):
    """The stack did not start or stop; the message says why, ``log`` what to read."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


def start_supervisor(data_dir: Path, *, with_parent: bool) -> subprocess.Popen[bytes]:
    """Start a supervisor for *data_dir*; with *with_parent* it ends when this process ends."""
    make_private(data_dir)
    log = supervisor_log(data_dir)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "llmjobs_dev", str(data_dir)]
    if with_parent:
        command.append("--with-parent")
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def follow_start(process: subprocess.Popen[bytes], data_dir: Path) -> Iterator[StackState]:
    """Yield the state until the stack is ready; raises StackFailedError.

    When another process starts a stack in the same folder, that one is followed.
    """
    log = str(supervisor_log(data_dir))
    while True:
        ended = process.poll()
        state = read_state(data_dir)
        is_ours = state is not None and state.supervisor_pid == process.pid
        if state is not None and (is_ours or ended == ALREADY_RUNS):
            yield state
            if state.phase is Phase.READY:
                return
            if state.phase is Phase.FAILED:
                raise StackFailedError(state.error, state.error_log)
            if state.phase is Phase.STOPPED and (ended is not None or not is_locked(data_dir)):
                raise StackFailedError("the stack was stopped while it started", log)
        elif ended is not None:
            raise StackFailedError(f"the supervisor ended with status {ended}", log)
        time.sleep(POLL_S)


def stop_supervisor(state: StackState) -> bool:
    """End the stack in order and return when it is gone; False if none ran.

    Raises StackFailedError when it does not end in time; it is then killed, with all its parts.
    """
    data_dir = Path(state.data_dir)
    if not is_locked(data_dir):
        return False
    _signal(state.supervisor_pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while is_locked(data_dir):
        if time.monotonic() > deadline:
            _signal(state.supervisor_pid, signal.SIGKILL)
            raise StackFailedError(
                f"the stack did not end within {STOP_TIMEOUT_S:.0f} s and was killed",
                str(supervisor_log(data_dir)),
            )
        time.sleep(POLL_S)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
