"""What the operator knows of the cluster, kept current by watch events; it only remembers."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from llmjobs_core.names import PoolKey
from llmjobs_core.resources import InvalidResource, LLMWorkerPool, parse_pool
from llmjobs_operator.objects import POOL_LABEL, Kind, ObjectKey


class ClusterView:
    """The last seen form of every object that matters here."""

    def __init__(self) -> None:
        self._objects: dict[ObjectKey, dict[str, Any]] = {}
        self._deployments: dict[PoolKey, dict[str, Any]] = {}
        self._pods: dict[PoolKey, dict[str, dict[str, Any]]] = defaultdict(dict)

    def see(self, key: ObjectKey, body: Mapping[str, Any]) -> None:
        """Remember an object; an older form than the one known is passed over."""
        known = self._objects.get(key)
        if known is not None and _version(known) > _version(body) and _uid(known) == _uid(body):
            return
        plain = {name: body[name] for name in ("metadata", "spec", "status") if name in body}
        plain["metadata"] = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
        self._objects[key] = plain

    def forget(self, key: ObjectKey) -> None:
        """Forget an object that is gone."""
        self._objects.pop(key, None)

    def get(self, key: ObjectKey) -> dict[str, Any] | None:
        """Return an object; None if it is not there."""
        return self._objects.get(key)

    def keys(self, kind: Kind) -> list[ObjectKey]:
        """Return every object of a kind."""
        return [key for key in self._objects if key.kind is kind]

    def see_deployment(self, body: Mapping[str, Any], *, gone: bool) -> PoolKey | None:
        """Remember a pool's Deployment; returns the pool."""
        pool = _pool_of(body)
        if pool is None:
            return None
        if gone:
            self._deployments.pop(pool, None)
        elif _version(self._deployments.get(pool)) <= _version(body):
            self._deployments[pool] = dict(body)
        return pool

    def see_pod(self, body: Mapping[str, Any], *, gone: bool) -> PoolKey | None:
        """Remember a pool's pod; returns the pool."""
        pool = _pool_of(body)
        if pool is None:
            return None
        name = body["metadata"]["name"]
        if gone:
            self._pods[pool].pop(name, None)
        else:
            self._pods[pool][name] = {"metadata": body["metadata"], "status": body.get("status")}
        return pool

    def deployment(self, pool: PoolKey) -> dict[str, Any] | None:
        """Return a pool's Deployment; None if it is not there."""
        return self._deployments.get(pool)

    def pods(self, pool: PoolKey) -> list[dict[str, Any]]:
        """Return a pool's pods that are not being deleted."""
        return [
            pod for pod in self._pods[pool].values() if not pod["metadata"].get("deletionTimestamp")
        ]

    def pools(self, namespace: str) -> Iterator[LLMWorkerPool]:
        """Yield the valid pools of a namespace that are not being deleted, by name."""
        for key in sorted(self.keys(Kind.POOL)):
            if key.namespace != namespace:
                continue
            try:
                pool = parse_pool(self._objects[key])
            except InvalidResource:
                continue
            if pool.metadata.deletion_timestamp is None:
                yield pool


def _version(body: Mapping[str, Any] | None) -> int:
    """Return an object's version; versions of one object can be compared since Kubernetes 1.35."""
    text = str(((body or {}).get("metadata") or {}).get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


def _uid(body: Mapping[str, Any]) -> str:
    return str(body["metadata"].get("uid", ""))


def _pool_of(body: Mapping[str, Any]) -> PoolKey | None:
    meta = body["metadata"]
    name = (meta.get("labels") or {}).get(POOL_LABEL)
    return PoolKey(meta["namespace"], name) if name else None
