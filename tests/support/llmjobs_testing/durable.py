"""Gateways that may make LLMJobs, with the rights of manifests/rbac and no others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_testing.gateways import RunningGateway, run_gateway
from llmjobs_testing.kubectl import Kubectl

USER = "llmjobs-gateway"
ROLES = (USER, f"{USER}-durable")


def bind_gateway(plane: ControlPlane) -> None:
    """Give the gateway's user its rights, as the chart does."""
    Kubectl(plane).apply(*(_build_binding(role) for role in ROLES))


def _build_binding(role: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": role},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": USER, "apiGroup": group}],
    }


@asynccontextmanager
async def run_durable_gateway(
    plane: ControlPlane, url: str, namespace: str, **changes: Any
) -> AsyncIterator[RunningGateway]:
    """Run a gateway that takes durable jobs, by default into *namespace*."""
    fields: dict[str, Any] = {
        "durable_jobs": True,
        "kubeconfig": plane.kubeconfig_for("gateway", user=USER),
        "default_namespace": namespace,
    }
    async with run_gateway(url, **(fields | changes)) as gateway:
        yield gateway
