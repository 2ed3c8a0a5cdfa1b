"""Namespaces that are being deleted: what is in them goes, and nobody reads its status any more.

Without this, the end of a namespace's pool would be told to each of its LLMJobs, and each one's
deletion to those behind it: for 500 LLMJobs a thousand writes, which the deletion had to wait for.
"""

import asyncio
from collections.abc import Callable

from llmjobs_operator.cluster import Cluster, ClusterRefused, ObjectGone

_SUSPECT_MS = 10_000
"""How long after a deletion in it a namespace is asked for, before anything is written there."""
_FRESH_MS = 2_000
"""How long an answer holds. A namespace that is being deleted never comes back as the same one."""


class Endings:
    """Knows which namespaces are being deleted; asks only where something was deleted just now."""

    def __init__(self, cluster: Cluster, *, now_ms: Callable[[], int]) -> None:
        self._cluster = cluster
        self._now_ms = now_ms
        self._suspected_ms: dict[str, int] = {}
        self._answers: dict[str, tuple[int, bool]] = {}
        """When each suspect was asked for, and whether it is being deleted."""
        self._asking = asyncio.Lock()

    def suspect(self, namespace: str) -> None:
        """Note that something in a namespace was deleted, or is to be."""
        self._suspected_ms[namespace] = self._now_ms()

    async def is_ending(self, namespace: str) -> bool:
        """Whether a namespace is being deleted, or is gone; raises ClusterUnavailable."""
        since_ms = self._suspected_ms.get(namespace)
        if since_ms is None:
            return False
        async with self._asking:
            if self._now_ms() - since_ms > _SUSPECT_MS:
                self._suspected_ms.pop(namespace, None)
                self._answers.pop(namespace, None)
                return False
            asked_ms, is_ending = self._answers.get(namespace, (0, False))
            if self._now_ms() - asked_ms > _FRESH_MS:
                is_ending = await self._ask(namespace)
                self._answers[namespace] = self._now_ms(), is_ending
            return is_ending

    async def _ask(self, namespace: str) -> bool:
        try:
            return await self._cluster.is_namespace_ending(namespace)
        except ObjectGone:
            return True
        except ClusterRefused:  # an installation without the right tells what it need not
            return False
