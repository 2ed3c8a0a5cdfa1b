"""The embedded stack as a user starts it: by the command line, with the real model."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
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


def fetch(url: str, body: dict[str, Any] | None = None) -> bytes:
    """GET *url*, or POST *body* to it as JSON; returns what is answered."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return bytes(response.read())


def read_events(gateway: str, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kind and data of a job's events, on one connection, until its stream ends."""
    kind = ""
    with urllib.request.urlopen(f"{gateway}/jobs/{job_id}/events", timeout=120) as response:
        for raw in response:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, json.loads(value)
