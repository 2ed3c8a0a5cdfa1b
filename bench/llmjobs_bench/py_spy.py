"""Records the stacks of a running process, by py-spy: the only place that knows its ways."""

import asyncio
import sys
from enum import StrEnum
from pathlib import Path

from llmjobs_dev.process import die_with_parent

_PROGRAM = Path(sys.executable).with_name("py-spy")
_RATE_HZ = 100
"""Samples a second: py-spy stops the process for each, and more would show in what is measured."""
_REFUSALS = ("permission denied", "operation not permitted")


class Format(StrEnum):
    """What is written."""

    FLAME_GRAPH = "flamegraph"
    RAW = "raw"


class RecordingFailed(Exception):
    """There is no profile; the message says why, and what to do about it."""


async def record(pid: int, output: Path, *, form: Format, seconds: float) -> None:
    """Write what process *pid* does in the next *seconds* to *output*. Raises RecordingFailed."""
    argv = [
        "record", "--pid", str(pid), "--duration", str(max(1, round(seconds))),
        "--rate", str(_RATE_HZ), "--format", form, "--output", str(output), "--function",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        _PROGRAM,
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=die_with_parent,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise RecordingFailed(explain(said.decode(errors="replace")))


def explain(said: str) -> str:
    """Return why py-spy failed by what it *said*; for missing rights, how to give them."""
    if any(refusal in said.lower() for refusal in _REFUSALS):
        return (
            "py-spy may not look into other processes here: it needs the rights of ptrace. "
            "Run as root, or allow it for this boot with `sudo sysctl "
            "kernel.yama.ptrace_scope=0`; in a container, add the capability SYS_PTRACE."
        )
    return f"py-spy failed: {said.strip()[-500:]}"
