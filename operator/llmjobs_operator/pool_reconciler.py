"""Bringing one LLMWorkerPool in line: its registration, its Deployment, its status."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from llmjobs_core.errors import PoolNotFound, RetryableError, StoreUnavailable
from llmjobs_core.names import PoolKey
from llmjobs_core.pools import PoolRegistration, PoolStats
from llmjobs_core.resources import InvalidResource, LLMWorkerPool
from llmjobs_core.resources.common import ObjectMeta
from llmjobs_core.store import JobStore
from llmjobs_operator.cluster import Cluster, ClusterRefused, ObjectGone
from llmjobs_operator.deletion_costs import plan_deletion_costs
from llmjobs_operator.job_events import NewEvent
from llmjobs_operator.metrics import OperatorMetrics
from llmjobs_operator.objects import GROUP, Kind, ObjectKey
from llmjobs_operator.pool_demand import PoolDemand, count_replicas
from llmjobs_operator.pool_objects import WorkerDefaults, build_deployment, count_gpus
from llmjobs_operator.pool_status import (
    Trouble,
    build_invalid_pool_status,
    build_pool_status,
    find_trouble,
    is_pool_status_worth_writing,
)
from llmjobs_operator.recorder import publish_events
from llmjobs_operator.scaling import ScalingDecision, read_limits
from llmjobs_operator.view import ClusterView
from llmjobs_operator.worklist import Worklist

_log = structlog.get_logger(__name__)

HASH_ANNOTATION = f"{GROUP}/spec-hash"
STATUS_HOLD_MS = 1_000
STATUS_FRESH_MS = 5_000
LOOK_APART_S = 0.1
"""Many jobs at once for a pool are one look at it."""


class PoolReconciler:
    """Works on LLMWorkerPools, one key at a time."""

    def __init__(
        self,
        cluster: Cluster,
        store: JobStore,
        view: ClusterView,
        work: Worklist,
        metrics: OperatorMetrics,
        defaults: WorkerDefaults,
        demand: PoolDemand,
        *,
        poke_jobs: Callable[[PoolKey], None],
        now_ms: Callable[[], int],
    ) -> None:
        """*poke_jobs* is called when the reason why a pool's jobs wait may be another."""
        self._poke_jobs = poke_jobs
        self._cluster = cluster
        self._store = store
        self._view = view
        self._work = work
        self._metrics = metrics
        self._defaults = defaults
        self._demand = demand
        self._now_ms = now_ms
        self._registered: dict[PoolKey, PoolRegistration] = {}
        self._written_ms: dict[PoolKey, int] = {}
        self._troubles: dict[PoolKey, str] = {}

    def forget_registrations(self) -> None:
        """Publish every pool again at its next turn: the store may have been emptied."""
        self._registered.clear()

    async def reconcile(self, key: ObjectKey) -> None:
        """Bring the pool in line; raises RetryableError to be called again."""
        body = self._view.get(key)
        pool_key = PoolKey(key.namespace, key.name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            await self._close(pool_key)
            return
        self._work.hold(key, LOOK_APART_S)
        meta = ObjectMeta.model_validate(body["metadata"])
        status: Mapping[str, Any] = body.get("status") or {}
        try:
            pool = self._view.pool(key)
        except InvalidResource as error:
            invalid = build_invalid_pool_status(
                status,
                str(error),
                name=key.name,
                generation=meta.generation,
                now_ms=self._now_ms(),
            )
            await self._write(key, meta, status, invalid, [])
            return
        await self._bring_in_line(key, pool_key, pool, status)

    async def _bring_in_line(
        self, key: ObjectKey, pool_key: PoolKey, pool: LLMWorkerPool, status: Mapping[str, Any]
    ) -> None:
        trouble = found = find_trouble(self._view.pods(pool_key), now_ms=self._now_ms())
        stats = await self._observe(pool, pool_key, trouble)
        decision = self._demand.decide(pool, pool_key, stats)
        deployment = self._view.deployment(pool_key)
        current = count_replicas(deployment)[0]
        desired = current if decision.replicas is None else decision.replicas
        self._show_limits(pool_key, pool)
        try:
            if 0 < desired < current:
                await self._spare_the_busy(pool_key)
            await self._apply_deployment(pool, deployment, desired)
        except ClusterRefused as error:
            trouble = Trouble("DeploymentRefused", str(error)[:300])
        events = self._plan_events(pool_key, decision, current, desired, trouble)
        after = build_pool_status(
            status,
            name=key.name,
            generation=pool.metadata.generation,
            decision=decision,
            desired=desired,
            deployment=self._view.deployment(pool_key),
            stats=stats,
            trouble=trouble,
            scaled=desired != current,
            now_ms=self._now_ms(),
        )
        await self._write(key, pool.metadata, status, after, events)
        if stats is not None and desired == current and trouble is found:
            self._demand.note(key, stats, trouble, decision)

    async def _observe(
        self, pool: LLMWorkerPool, key: PoolKey, trouble: Trouble | None
    ) -> PoolStats | None:
        """Publish the registration where it changed, and read what waits; None if unknown."""
        registration = PoolRegistration(
            key=key,
            models=tuple(pool.spec.models),
            concurrency=pool.spec.concurrency,
            reason=trouble.reason if trouble else "",
            message=trouble.message if trouble else "",
        )
        is_news = self._registered.get(key) != registration
        if is_news:
            self._cluster.require_leading()
        try:
            if is_news:
                await self._store.put_pool(registration)
                self._registered[key] = registration
                self._poke_jobs(key)
            return await self._store.fetch_pool(key)
        except PoolNotFound:
            # The store was emptied; the next turn publishes it again.
            self._registered.pop(key, None)
            return None
        except RetryableError as error:
            _log.warning("pool_demand_unknown", pool=str(key), error=str(error))
            return None

    async def _spare_the_busy(self, key: PoolKey) -> None:
        """Let a scale-in take the pods with the least work; it goes on where that is not known."""
        try:
            workers = await self._store.list_workers()
            costs = plan_deletion_costs(self._view.pods(key), workers, key)
            for pod, cost in costs.items():
                await self._cluster.apply_deletion_cost(key.namespace, pod, cost)
        except (StoreUnavailable, ClusterRefused) as error:
            _log.warning("deletion_costs_not_set", pool=str(key), error=str(error))

    async def _apply_deployment(
        self,
        pool: LLMWorkerPool,
        current: Mapping[str, Any] | None,
        replicas: int,
    ) -> None:
        wanted = build_deployment(pool, self._defaults, replicas=replicas)
        key = PoolKey(pool.metadata.namespace, pool.metadata.name)
        self._metrics.replica_gpus.labels(str(key)).set(count_gpus(wanted))
        # Replicas are compared by themselves: where others set them, they are no reason to write.
        fixed = {**wanted, "spec": {**wanted["spec"], "replicas": None}}
        digest = hashlib.sha256(msgspec.json.encode(fixed, order="sorted")).hexdigest()[:16]
        wanted["metadata"]["annotations"] = {HASH_ANNOTATION: digest}
        if current is not None:
            annotations = current["metadata"].get("annotations") or {}
            same = annotations.get(HASH_ANNOTATION) == digest
            if same and (current.get("spec") or {}).get("replicas") == replicas:
                return
        meta = wanted["metadata"]
        target = ObjectKey(Kind.DEPLOYMENT, meta["namespace"], meta["name"])
        self._view.see(target, await self._cluster.apply_deployment(wanted))

    def _show_limits(self, key: PoolKey, pool: LLMWorkerPool) -> None:
        limits = read_limits(pool.spec) or (None, None)
        for kind, limit in zip(("min", "max"), limits, strict=True):
            if limit is None:
                self._metrics.pool_replicas.remove(str(key), kind)
            else:
                self._metrics.pool_replicas.labels(str(key), kind).set(limit)

    def _plan_events(
        self,
        key: PoolKey,
        decision: ScalingDecision,
        current: int,
        desired: int,
        trouble: Trouble | None,
    ) -> list[NewEvent]:
        events: list[NewEvent] = []
        if desired != current:
            direction = "up" if desired > current else "down"
            reason = "ScaledUp" if desired > current else "ScaledDown"
            events.append(NewEvent(reason, decision.message))
            labels = (str(key), direction, str(decision.reason))
            self._metrics.scaling_decisions.labels(*labels).inc()
        self._metrics.pool_replicas.labels(str(key), "desired").set(desired)
        if decision.needed is not None:
            self._metrics.pool_replicas.labels(str(key), "needed").set(decision.needed)
        else:
            self._metrics.pool_replicas.remove(str(key), "needed")
        word = trouble.reason if trouble else ""
        if trouble and trouble.warns and self._troubles.get(key) != word:
            events.append(NewEvent(trouble.reason, trouble.message, warning=True))
        self._troubles[key] = word
        return events

    async def _write(
        self,
        key: ObjectKey,
        meta: ObjectMeta,
        before: Mapping[str, Any],
        after: dict[str, Any],
        events: list[NewEvent],
    ) -> None:
        pool_key = PoolKey(key.namespace, key.name)
        ready = int(after.get("readyReplicas", 0))
        self._metrics.pool_replicas.labels(str(pool_key), "ready").set(ready)
        await publish_events(self._cluster, key, meta.uid, events)
        since_ms = self._now_ms() - self._written_ms.get(pool_key, 0)
        fresh = since_ms < STATUS_FRESH_MS
        if not is_pool_status_worth_writing(before, after, fresh=fresh):
            if fresh and before != after:
                self._work.add(key, delay_s=(STATUS_FRESH_MS - since_ms) / 1000)
            return
        if since_ms < STATUS_HOLD_MS:
            self._work.add(key, delay_s=(STATUS_HOLD_MS - since_ms) / 1000)
            return
        try:
            body = await self._cluster.apply_status(key, meta.uid, after, before)
        except ObjectGone:
            self._view.forget(key, meta.uid)
            return
        self._written_ms[pool_key] = self._now_ms()
        self._view.see(key, body)
        self._metrics.status_writes.labels(str(key.kind)).inc()

    async def _close(self, key: PoolKey) -> None:
        """The pool is gone: feed it no more; forget it once nothing waits for it.

        Its jobs stay where they are: a pool of that name brings them back, a cancel ends them.
        """
        self._registered.pop(key, None)
        self._demand.forget(key)
        self._metrics.forget_pool(key)
        try:
            stats = await self._store.fetch_pool(key)
        except PoolNotFound:
            return
        self._cluster.require_leading()
        if stats.queued + stats.running == 0:
            await self._store.drop_pool(key)
        elif stats.registration.accepting:
            waiting = PoolRegistration(
                key=key,
                models=stats.registration.models,
                concurrency=stats.registration.concurrency,
                accepting=False,
                reason="PoolDeleted",
                message=f"pool {key} was deleted; its jobs wait until a pool of that name is "
                "there again, or they are cancelled",
            )
            await self._store.put_pool(waiting)
            self._poke_jobs(key)


def pool_object_key(pool: PoolKey) -> ObjectKey:
    """Return the object of a pool."""
    return ObjectKey(Kind.POOL, pool.namespace, pool.name)
