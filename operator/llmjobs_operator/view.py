"""What the operator knows of the cluster, kept current by watch events; it only remembers."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from llmjobs_core.names import PoolKey
from llmjobs_core.resources import InvalidResource, LLMWorkerPool, parse_pool
from llmjobs_operator.objects import POOL_LABEL, Kind, ObjectKey
from llmjobs_operator.pool_objects import deployment_name

Stamp = tuple[str, str]
"""UID and resource version: which object it is, and which form of it."""


class ClusterView:
    """The last seen form of every object that matters here."""

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[ObjectKey, dict[str, Any]]] = {kind: {} for kind in Kind}
        self._pods: defaultdict[PoolKey, set[ObjectKey]] = defaultdict(set)

    def see(self, key: ObjectKey, body: Mapping[str, Any], *, anyway: bool = False) -> bool:
        """Remember an object; an older form than the one known is passed over.

        *anyway* takes it as it is: after a restore of etcd the newer form has the lower version.
        """
        known = self._objects[key.kind].get(key)
        if known is not None and not anyway and _is_older(body, known):
            return False
        names = ("metadata", "status") if key.kind is Kind.POD else ("metadata", "spec", "status")
        plain = {name: body[name] for name in names if name in body}
        plain["metadata"] = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
        self._objects[key.kind][key] = plain
        pool = pool_of(body)
        if key.kind is Kind.POD and pool is not None:
            self._pods[pool].add(key)
        return True

    def forget(self, key: ObjectKey, uid: str) -> bool:
        """Forget an object that is gone; False if it is not known, or another has its name now.

        Kopf may tell of the end of one object after the start of its namesake.
        """
        known = self._objects[key.kind].get(key)
        if known is None or _uid(known) != uid:
            return False
        del self._objects[key.kind][key]
        pool = pool_of(known)
        if key.kind is Kind.POD and pool is not None:
            self._pods[pool].discard(key)
        return True

    def get(self, key: ObjectKey) -> dict[str, Any] | None:
        """Return an object; None if it is not there."""
        return self._objects[key.kind].get(key)

    def keys(self, kind: Kind) -> list[ObjectKey]:
        """Return every object of a kind."""
        return list(self._objects[kind])

    def stamps(self, kind: Kind) -> dict[ObjectKey, Stamp]:
        """Return which form is known of every object of a kind."""
        return {key: stamp_of(body) for key, body in self._objects[kind].items()}

    def stamp(self, key: ObjectKey) -> Stamp | None:
        """Return which form is known of an object; None if it is not there."""
        body = self.get(key)
        return None if body is None else stamp_of(body)

    def deployment(self, pool: PoolKey) -> dict[str, Any] | None:
        """Return a pool's Deployment; None if it is not there."""
        return self.get(ObjectKey(Kind.DEPLOYMENT, pool.namespace, deployment_name(pool.name)))

    def pods(self, pool: PoolKey) -> list[dict[str, Any]]:
        """Return a pool's pods that are not being deleted, by name."""
        found = [self._objects[Kind.POD][key] for key in sorted(self._pods[pool])]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def pools(self, namespace: str) -> Iterator[LLMWorkerPool]:
        """Yield the valid pools of a namespace that are not being deleted, by name."""
        for key in sorted(self.keys(Kind.POOL)):
            if key.namespace != namespace:
                continue
            try:
                pool = parse_pool(self._objects[Kind.POOL][key])
            except InvalidResource:
                continue
            if pool.metadata.deletion_timestamp is None:
                yield pool


def stamp_of(body: Mapping[str, Any]) -> Stamp:
    """Return which object a body is, and which form of it."""
    return _uid(body), str(body["metadata"].get("resourceVersion", ""))


def pool_of(body: Mapping[str, Any]) -> PoolKey | None:
    """Return the pool that a Deployment or pod belongs to; None without our label."""
    meta = body["metadata"]
    name = (meta.get("labels") or {}).get(POOL_LABEL)
    return PoolKey(meta["namespace"], name) if name else None


def _is_older(body: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    if _uid(body) == _uid(known):
        return _version(body) < _version(known)
    # A namesake: times are whole seconds, versions of one kind can be compared between objects.
    return (_created(body), _version(body)) < (_created(known), _version(known))


def _version(body: Mapping[str, Any]) -> int:
    """Return an object's version; versions of one kind can be compared since Kubernetes 1.35."""
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


def _created(body: Mapping[str, Any]) -> str:
    return str(body["metadata"].get("creationTimestamp", ""))


def _uid(body: Mapping[str, Any]) -> str:
    return str(body["metadata"].get("uid", ""))
