"""Names, labels and small values of Kubernetes objects that several modules need. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from llmjobs_core.names import API_VERSION, GROUP, JOB_FINALIZER, VERSION

POOL_LABEL = f"{GROUP}/pool"
FINALIZER = JOB_FINALIZER
FIELD_MANAGER = "llmjobs-operator"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Of the pods of a ReplicaSet those with the lowest go first. Source: Kubernetes' ReplicaSet."""
MANAGED_BY = {"app.kubernetes.io/managed-by": FIELD_MANAGER}

__all__ = ["API_VERSION", "FIELD_MANAGER", "FINALIZER", "GROUP", "POOL_LABEL", "VERSION"]


class Kind(StrEnum):
    """What is watched."""

    JOB = "LLMJob"
    POOL = "LLMWorkerPool"
    DEPLOYMENT = "Deployment"
    """Seen, and looked at as part of its pool."""
    POD = "Pod"
    """Seen, and looked at as part of its pool."""


COLLECTIONS = {
    Kind.JOB: (f"/apis/{GROUP}/{VERSION}", "llmjobs"),
    Kind.POOL: (f"/apis/{GROUP}/{VERSION}", "llmworkerpools"),
    Kind.DEPLOYMENT: ("/apis/apps/v1", "deployments"),
    Kind.POD: ("/api/v1", "pods"),
}
"""Where the API server keeps a kind: the path of its group and version, and its plural."""
OWNED_KINDS = frozenset({Kind.DEPLOYMENT, Kind.POD})
"""Kinds of which only those with the pool's label matter."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """One object by its place."""

    kind: Kind
    namespace: str
    name: str


def format_time(ms: int) -> str:
    """Return milliseconds since the epoch as the API server writes times."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> int:
    """Return a time of the API server as milliseconds since the epoch."""
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
