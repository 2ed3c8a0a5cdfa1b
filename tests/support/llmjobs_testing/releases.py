"""Releases of the charts on the tests' control plane. No node is there, so pods stay pending."""

import subprocess
from collections.abc import Mapping
from typing import Any

import yaml

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_testing.charts import HELM, HELMS, ROOT, HelmRefused


class Releases:
    """Runs one of the pinned Helms in one namespace of a real API server."""

    def __init__(self, plane: ControlPlane, namespace: str, helm: str = HELMS[0]) -> None:
        self._command = [
            str(HELM / helm), "--kubeconfig", str(plane.kubeconfig), "--namespace", namespace,
        ]  # fmt: skip

    def __call__(self, *args: str, values: Mapping[str, Any] | None = None) -> str:
        """Run one command; returns what it prints, and its warnings. Raises HelmRefused."""
        given = ["--values", "-"] if values is not None else []
        done = subprocess.run(
            [*self._command, *args, *given],
            input=yaml.safe_dump(dict(values or {})),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise HelmRefused(done.stderr)
        return done.stdout + done.stderr

    def install(self, values: Mapping[str, Any], name: str = "llmjobs") -> str:
        """Install charts/llmjobs."""
        return self("install", name, str(ROOT / "charts" / "llmjobs"), values=values)

    def upgrade(self, values: Mapping[str, Any], name: str = "llmjobs") -> str:
        """Upgrade it."""
        return self("upgrade", name, str(ROOT / "charts" / "llmjobs"), values=values)
