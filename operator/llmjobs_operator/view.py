"""What the operator knows of the cluster, kept current by watch events; it only remembers."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmjobs_core.names import PoolKey
from llmjobs_core.resources import InvalidResource, LLMWorkerPool, parse_pool
from llmjobs_core.resources.llmjob import JobCondition
from llmjobs_operator.conditions import is_true
from llmjobs_operator.objects import POOL_LABEL, Kind, ObjectKey
from llmjobs_operator.pool_objects import deployment_name

Stamp = tuple[str, str]
"""UID and resource version: which object it is, and which form of it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What is kept of an LLMJob that has ended and of which nothing is left to do.

    There may be very many of them, and their prompts are of no use any more.
    """

    uid: str
    version: str
    created: str
    generation: int
    ended: str | None
    """Its ``completionTime``."""
    ttl_s: int | None

    def build_body(self, key: ObjectKey) -> dict[str, Any]:
        """Return the object with what is known of it."""
        return {
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "uid": self.uid,
                "resourceVersion": self.version,
                "creationTimestamp": self.created,
                "generation": self.generation,
            },
            "spec": {} if self.ttl_s is None else {"ttlSecondsAfterFinished": self.ttl_s},
            "status": {
                "conditions": [{"type": JobCondition.FINISHED, "status": "True"}],
                "completionTime": self.ended,
            },
        }


def settle(body: Mapping[str, Any]) -> Settled | None:
    """Return what to keep of an LLMJob; None where there may be something left to do.

    Its end was told, for what is asked for now: nothing of it changes any more but that its time to
    live passes, or that somebody edits or deletes it.
    """
    meta, status = body["metadata"], body.get("status") or {}
    generation = meta.get("generation", 0)
    if meta.get("deletionTimestamp"):
        return None
    if not is_true(status, JobCondition.FINISHED):
        return None
    if status.get("observedGeneration") != generation:
        return None
    return Settled(
        uid=meta["uid"],
        version=meta.get("resourceVersion", ""),
        created=meta.get("creationTimestamp", ""),
        generation=generation,
        ended=status.get("completionTime"),
        ttl_s=(body.get("spec") or {}).get("ttlSecondsAfterFinished"),
    )


class ClusterView:
    """The last seen form of every object that matters here."""

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[ObjectKey, dict[str, Any]]] = {kind: {} for kind in Kind}
        self._settled: dict[ObjectKey, Settled] = {}
        """LLMJobs of which nothing is left to do; not among the objects."""
        self._parsed: dict[ObjectKey, tuple[object, LLMWorkerPool | InvalidResource]] = {}
        """Pools as they were parsed, each with the very body that it was parsed from."""
        self._pods: defaultdict[PoolKey, set[ObjectKey]] = defaultdict(set)

    def see(self, key: ObjectKey, body: Mapping[str, Any], *, anyway: bool = False) -> bool:
        """Remember an object; an older form than the one known is passed over.

        *anyway* takes it as it is: after a restore of etcd the newer form has the lower version.
        """
        known = self.get(key)
        if known is not None and not anyway and _is_older(body, known):
            return False
        self._settled.pop(key, None)
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
        known = self.get(key)
        if known is None or _uid(known) != uid:
            return False
        if self._settled.pop(key, None) is not None:
            return True
        del self._objects[key.kind][key]
        self._parsed.pop(key, None)
        pool = pool_of(known)
        if key.kind is Kind.POD and pool is not None:
            self._pods[pool].discard(key)
        return True

    def settle(self, key: ObjectKey) -> Settled | None:
        """Keep no more of an LLMJob than is needed; None where there may be something to do."""
        settled = self._settled.get(key)
        body = self._objects[key.kind].get(key)
        if body is not None:
            settled = settle(body)
            if settled is not None:
                del self._objects[key.kind][key]
                self._settled[key] = settled
        return settled

    def settled(self, key: ObjectKey) -> Settled | None:
        """Return what is kept of an LLMJob of which nothing is left to do; None of another."""
        return self._settled.get(key)

    def settled_jobs(self) -> list[tuple[ObjectKey, Settled]]:
        """Return all LLMJobs of which nothing is left to do."""
        return list(self._settled.items())

    def get(self, key: ObjectKey) -> dict[str, Any] | None:
        """Return an object; None if it is not there.

        Of an LLMJob of which nothing is left to do it has only what `Settled` keeps.
        """
        body = self._objects[key.kind].get(key)
        if body is None and (settled := self._settled.get(key)) is not None:
            return settled.build_body(key)
        return body

    def keys(self, kind: Kind) -> list[ObjectKey]:
        """Return every object of a kind, but for LLMJobs of which nothing is left to do."""
        return list(self._objects[kind])

    def stamps(self, kind: Kind) -> dict[ObjectKey, Stamp]:
        """Return which form is known of every object of a kind."""
        stamps = {key: stamp_of(body) for key, body in self._objects[kind].items()}
        if kind is Kind.JOB:
            stamps |= {key: (one.uid, one.version) for key, one in self._settled.items()}
        return stamps

    def stamp(self, key: ObjectKey) -> Stamp | None:
        """Return which form is known of an object; None if it is not there."""
        settled = self._settled.get(key)
        if settled is not None:
            return settled.uid, settled.version
        body = self._objects[key.kind].get(key)
        return None if body is None else stamp_of(body)

    def deployment(self, pool: PoolKey) -> dict[str, Any] | None:
        """Return a pool's Deployment; None if it is not there."""
        return self.get(ObjectKey(Kind.DEPLOYMENT, pool.namespace, deployment_name(pool.name)))

    def pods(self, pool: PoolKey) -> list[dict[str, Any]]:
        """Return a pool's pods that are not being deleted, by name."""
        found = [self._objects[Kind.POD][key] for key in sorted(self._pods[pool])]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def pool(self, key: ObjectKey) -> LLMWorkerPool:
        """Return a pool that is there, parsed once for each form; raises InvalidResource."""
        body = self._objects[Kind.POOL][key]
        known = self._parsed.get(key)
        if known is None or known[0] is not body:
            try:
                known = (body, parse_pool(body))
            except InvalidResource as error:
                known = (body, error)
            self._parsed[key] = known
        if isinstance(known[1], InvalidResource):
            # Else each raise would add to the traceback that the kept error holds.
            raise known[1].with_traceback(None)
        return known[1]

    def pools(self, namespace: str) -> Iterator[LLMWorkerPool]:
        """Yield the valid pools of a namespace that are not being deleted, by name."""
        for key in sorted(key for key in self._objects[Kind.POOL] if key.namespace == namespace):
            try:
                pool = self.pool(key)
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
