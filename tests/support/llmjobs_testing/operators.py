"""A real operator as a process of its own, and what tests ask of the cluster about it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.ports import find_free_ports
from llmjobs_testing.kubectl import ROOT, Kubectl, KubectlError

USER = "llmjobs-operator"
POLL_S = 0.05


class OperatorProcess:
    """One ``llmjobs-operator`` with the rights of manifests/rbac."""

    def __init__(
        self,
        plane: ControlPlane,
        redis_url: str,
        log: Path,
        *,
        api_server: str | None = None,
        user: str = USER,
        **settings: str,
    ) -> None:
        """*settings* are added to the environment as ``LLMJOBS_`` and the name in capitals.

        *api_server* is where it finds the API server, when a proxy stands before it; *user* is
        whom the API server knows it as.
        """
        self.log = log
        (self.port,) = find_free_ports(1)
        wanted = {
            "redis_url": redis_url,
            "metrics_port": str(self.port),
            "identity": log.stem,
            **settings,
        }
        config = plane.kubeconfig_for(
            f"{log.stem}-by-proxy" if api_server else log.stem, user=user, server=api_server
        )
        self._env = {**os.environ, "KUBECONFIG": str(config)} | {
            f"LLMJOBS_{name.upper()}": value for name, value in wanted.items()
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers and, with `wait_leading`, acts."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "llmjobs_operator"], env=self._env, stdout=log, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; returns its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(30)

    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def read_metric(self, sample: str) -> float | None:
        """Return one sample of its metrics by its full name; None where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as page:
                text: str = page.read().decode()
        except (urllib.error.URLError, ConnectionError):
            return None
        for line in text.splitlines():
            if line.startswith(f"{sample} "):
                return float(line.split()[-1])
        return None

    def is_leading(self) -> bool:
        """Whether it acts now."""
        return self.read_metric("llmjobs_operator_leading") == 1.0


@contextmanager
def run_operator(
    plane: ControlPlane,
    redis_url: str,
    log: Path,
    *,
    api_server: str | None = None,
    user: str = USER,
    **settings: str,
) -> Iterator[OperatorProcess]:
    """Run an operator that leads; killed at the end if it is still there."""
    operator = OperatorProcess(plane, redis_url, log, api_server=api_server, user=user, **settings)
    operator.start()
    try:
        wait_until(operator.is_leading, what="the operator to lead", timeout_s=60)
        yield operator
    finally:
        operator.stop(signal.SIGKILL)


def install(plane: ControlPlane) -> None:
    """Install the CRDs, and the operator's rights as the chart gives them."""
    kubectl = Kubectl(plane)
    kubectl.install_crds()
    kubectl("apply", "--server-side", "-f", str(ROOT / "manifests" / "rbac"))
    kubectl.apply(*(_build_binding(f"{USER}{part}") for part in ("", "-cluster", "-lease")))


def _build_binding(role: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": role},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": USER, "apiGroup": group}],
    }


def wait_until(check: Callable[[], bool], *, what: str, timeout_s: float = 30.0) -> None:
    """Return when *check* holds; AssertionError naming *what* after *timeout_s*."""
    deadline_s = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        time.sleep(POLL_S)


async def wait_condition(kubectl: Kubectl, target: str, expression: str) -> None:
    """Wait by ``kubectl wait --for`` without stopping the test's event loop."""
    await asyncio.to_thread(kubectl, "wait", target, f"--for={expression}", "--timeout=60s")


def build_job(name: str, **spec: Any) -> dict[str, Any]:
    """Return an LLMJob for model ``m``."""
    request = {
        "endpoint": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "hi"}]},
    }
    base: dict[str, Any] = {"model": "m"}
    if "batch" not in spec:
        base["request"] = request
    return {
        "apiVersion": "llmjobs.dev/v1alpha1",
        "kind": "LLMJob",
        "metadata": {"name": name},
        "spec": {**base, **spec},
    }


def build_pool(name: str = "p", **spec: Any) -> dict[str, Any]:
    """Return an LLMWorkerPool that serves ``m`` by an engine elsewhere."""
    base: dict[str, Any] = {
        "models": ["m"],
        "engine": {"external": {"baseURL": "http://engine.invalid"}},
        "concurrency": 4,
        "scaling": {"maxReplicas": 3, "idleSecondsToZero": 1, "scaleDownStabilizationSeconds": 0},
    }
    return {
        "apiVersion": "llmjobs.dev/v1alpha1",
        "kind": "LLMWorkerPool",
        "metadata": {"name": name},
        "spec": {**base, **spec},
    }


def fetch_conditions(kubectl: Kubectl, kind: str, name: str) -> dict[str, dict[str, Any]]:
    """Return an object's conditions by type."""
    status = kubectl.get(kind, name).get("status") or {}
    return {item["type"]: item for item in status.get("conditions") or []}


def fetch_replicas(kubectl: Kubectl, pool: str = "p") -> int | None:
    """Return what the pool's Deployment asks for; None while there is none."""
    try:
        return int(kubectl.get("deploy", f"{pool}-workers")["spec"]["replicas"])
    except KubectlError:
        return None


def fetch_event_messages(kubectl: Kubectl, name: str, reason: str) -> list[str]:
    """Return the messages of the Events about *name* with *reason*."""
    selector = f"involvedObject.name={name},reason={reason}"
    found = json.loads(kubectl("get", "events", "--field-selector", selector, "-o", "json"))
    return [str(item["message"]) for item in found["items"]]
