"""Comparing what we know with what the API server has, so that no watch event is needed for good.

A watch can lose the end of an object: Kopf lists again after an outage, and a list does not tell
what is gone. A restore of etcd turns versions back. Both are made up for here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from llmjobs_core.errors import JobNotFound
from llmjobs_core.store import JobStore
from llmjobs_operator.cluster import Cluster, ObjectGone
from llmjobs_operator.objects import OWNED_KINDS, POOL_LABEL, Kind, ObjectKey
from llmjobs_operator.view import ClusterView, Stamp

_log = structlog.get_logger(__name__)

LISTED = "LISTED"
"""The type of a made-up event: the object as it is, whatever was known."""
_PAGE = 500


class ClusterAudit:
    """Lists names and versions of everything, and tells what the watch did not."""

    def __init__(
        self,
        cluster: Cluster,
        store: JobStore,
        view: ClusterView,
        *,
        namespaces: Sequence[str],
        seen: Callable[[Kind, Any], None],
    ) -> None:
        """*namespaces* is empty for all; *seen* takes events as Kopf's handlers do."""
        self._cluster = cluster
        self._store = store
        self._view = view
        self._namespaces = tuple(namespaces) or ("",)
        self._seen = seen

    def covers(self, namespace: str) -> bool:
        """Whether this operator looks after the namespace."""
        return self._namespaces == ("",) or namespace in self._namespaces

    async def compare(self, kinds: Iterable[Kind] = tuple(Kind)) -> None:
        """Tell of every object that differs from the view; raises RetryableError."""
        for kind in kinds:
            for namespace in self._namespaces:
                await self._compare(kind, namespace)

    async def _compare(self, kind: Kind, namespace: str) -> None:
        before = self._view.stamps(kind)
        selector = POOL_LABEL if kind in OWNED_KINDS else ""
        listed = await self._cluster.list_stamps(kind, namespace, selector=selector)
        for key, stamp in before.items():
            if namespace in {"", key.namespace} and key not in listed:
                self._tell_gone(key, stamp)
        for key, stamp in listed.items():
            if before.get(key) != stamp:
                await self._look(key, before.get(key))

    def _tell_gone(self, key: ObjectKey, stamp: Stamp) -> None:
        body = self._view.get(key)
        if body is not None and body["metadata"].get("uid") == stamp[0]:
            _log.info("missed_deletion", kind=str(key.kind), namespace=key.namespace, name=key.name)
            self._seen(key.kind, {"type": "DELETED", "object": body})

    async def _look(self, key: ObjectKey, known: Stamp | None) -> None:
        """Fetch an object, unless the watch told of it meanwhile."""
        if self._view.stamp(key) != known:
            return
        try:
            body = await self._cluster.fetch(key)
        except ObjectGone:
            return
        if self._view.stamp(key) == known:
            self._seen(key.kind, {"type": LISTED, "object": body})

    async def release_orphans(self) -> None:
        """End the store's jobs whose LLMJob is gone: its finalizer was taken by hand.

        Jobs are read before LLMJobs, and a job is younger than its LLMJob: one that has none in
        the later list has none for good. Raises RetryableError.
        """
        for namespace in self._namespaces:
            owned = await self._list_owned(namespace)
            if not owned:
                continue
            listed = await self._cluster.list_stamps(Kind.JOB, namespace)
            there = {uid for uid, _ in listed.values()}
            for job_id, owner in owned:
                if owner not in there:
                    self._cluster.require_leading()
                    await release_job(self._store, job_id)

    async def _list_owned(self, namespace: str) -> list[tuple[str, str]]:
        """Return the ids and owners of the store's jobs that have one."""
        owned: list[tuple[str, str]] = []
        cursor: str | None = None
        while True:
            page, cursor = await self._store.list_owners(
                namespace or None, limit=_PAGE, cursor=cursor
            )
            owned += page
            if cursor is None:
                return owned


async def release_job(store: JobStore, job_id: str) -> None:
    """End a job whose LLMJob is gone and remove its record; raises RetryableError."""
    try:
        await store.cancel(job_id, "the LLMJob was deleted")
        await store.remove(job_id)
    except JobNotFound:
        return
    _log.info("job_released", job=job_id)
