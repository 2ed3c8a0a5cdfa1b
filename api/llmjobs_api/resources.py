"""The LLMJobs behind durable jobs, as the gateway asks for them: the interface and its errors.

Knows no Kubernetes client, so that a gateway without one costs nothing of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from llmjobs_core.errors import PermanentError, RetryableError


class ClusterUnavailable(RetryableError):
    """The API server can't be reached, is overloaded, or asks to try again."""


class ClusterRefused(PermanentError):
    """The API server refuses: this gateway's rights, a quota, a policy. The message is its own."""


class ResourceExists(PermanentError):
    """There is an LLMJob of this name."""


class ResourceGone(PermanentError):
    """There is no such LLMJob, or no such namespace."""


class ResourceInvalid(PermanentError):
    """The API server does not take an LLMJob like this; *fields* are their paths in it."""

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__(", ".join(fields) or "the LLMJob")
        self.fields = tuple(fields)


class JobResources(Protocol):
    """Makes and changes LLMJobs with the gateway's own account."""

    async def create_job(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create an LLMJob; returns it as it is now."""

    async def fetch_job(self, namespace: str, name: str) -> dict[str, Any]:
        """Return an LLMJob."""

    async def apply_wish(
        self, namespace: str, name: str, uid: str, spec: Mapping[str, Any]
    ) -> None:
        """Change these fields of the spec of the LLMJob with this very *uid*."""
