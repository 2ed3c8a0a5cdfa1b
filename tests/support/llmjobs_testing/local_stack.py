"""The embedded stack as a user starts it: by the command line, with the real model."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 1500
"""The Kubernetes programs may have to be built first."""


@dataclass(frozen=True, slots=True)
class LocalStack:
    """Drives one stack by its commands alone."""

    data_dir: Path

    def run(self, *args: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run ``llmjobs dev ARGS`` and return what became of it."""
        return subprocess.run(
            self.command(*args),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def command(self, *args: str) -> list[str]:
        """Return the argument list of a command."""
        return [sys.executable, "-m", "llmjobs_cli", "dev", *args]

    def environment(self, **changes: str) -> dict[str, str]:
        """Return an environment in which this stack is the one."""
        return {**os.environ, "LLMJOBS_DEV_DIR": str(self.data_dir), "NO_COLOR": "1", **changes}

    def status(self) -> dict[str, Any]:
        """Return what ``llmjobs dev status -o json`` says."""
        state: dict[str, Any] = json.loads(self.run("status", "-o", "json").stdout)
        return state

    def kubectl(self, *args: str, timeout_s: float = 180) -> str:
        """Run the stack's kubectl; AssertionError with its words when it fails."""
        done = self.run("kubectl", *args, timeout_s=timeout_s)
        assert done.returncode == 0, done.stderr
        return done.stdout
