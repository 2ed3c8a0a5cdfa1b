"""Child processes that end with us: started with a log file, stopped with patience, then killed.

Must not know what it runs.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
"""Source: prctl(2): the signal that a child gets when its parent's thread ends."""

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel for a signal when this process' parent ends, even by SIGKILL (Linux only)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


class ProcessFailedError(RuntimeError):
    """A process ended, or did not become ready; the message names the log to read."""

    def __init__(self, message: str, log: Path) -> None:
        super().__init__(f"{message}; its log: {log}")
        self.log = log


class Process:
    """One child process in a process group of its own, its output in a log file."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self._env = dict(os.environ if env is None else env)
        self._cwd = cwd
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 before it is started."""
        return self._process.pid if self._process else 0

    @property
    def exit_code(self) -> int | None:
        """The exit status, negative for a signal; None while it runs or before it is started."""
        return self._process.returncode if self._process else None

    async def start(self) -> None:
        """Start it. Raises ProcessFailedError where the program can't be run."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self.argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            except OSError as error:
                raise ProcessFailedError(f"{self.name} can't be started: {error}", self.log) from (
                    error
                )

    async def wait(self) -> int:
        """Return its exit status when it has ended."""
        if self._process is None:
            return 0
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone; harmless when it has ended."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill_group(self) -> None:
        """SIGKILL it and all it started; harmless when they have ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def stop(self, *, grace_s: float = 10.0) -> None:
        """End it: SIGTERM, and SIGKILL to its group after *grace_s*."""
        if self._process is None or self._process.returncode is not None:
            return
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            self.kill_group()
            await self._process.wait()


def is_alive(pid: int) -> bool:
    """Return whether a process with this id runs and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
