"""kubectl against the tests' control plane."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmjobs_dev.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[3]


class KubectlError(AssertionError):
    """kubectl refused; the text is what it said."""


class Kubectl:
    """Runs kubectl with the plane's own kubeconfig, in one namespace."""

    def __init__(self, plane: ControlPlane, namespace: str = "default") -> None:
        self._command = [plane.kubectl, "--kubeconfig", str(plane.kubeconfig), "-n", namespace]
        self.namespace = namespace

    def __call__(self, *args: str, stdin: str = "") -> str:
        """Run one command and return what it prints; raises KubectlError."""
        done = subprocess.run(
            [*self._command, *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise KubectlError(done.stderr)
        return done.stdout

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "-f", "-", stdin=json.dumps(document))

    def is_applied(self, *objects: Mapping[str, Any]) -> bool:
        """Apply objects; False where the API server does not take them now."""
        try:
            self.apply(*objects)
        except KubectlError:
            return False
        return True

    def is_served(self, kind: str) -> bool:
        """List a kind; False where the API server does not serve it now."""
        try:
            self("get", kind)
        except KubectlError:
            return False
        return True

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return one object."""
        found: dict[str, Any] = json.loads(self("get", kind, name, "-o", "json"))
        return found

    def create_namespace(self) -> None:
        """Create the namespace, and wait until pods can be made in it."""
        self("create", "namespace", self.namespace)
        self("wait", "--for=create", "serviceaccount/default", "--timeout=60s")

    def install_crds(self) -> None:
        """Apply the custom resource definitions and wait until they are served."""
        self("apply", "--server-side", "-f", str(ROOT / "manifests" / "crds"))
        self("wait", "--for=condition=Established", "--timeout=60s", "crd", "llmjobs.llmjobs.dev")
        self(
            "wait", "--for=condition=Established", "--timeout=60s",
            "crd", "llmworkerpools.llmjobs.dev",
        )  # fmt: skip
