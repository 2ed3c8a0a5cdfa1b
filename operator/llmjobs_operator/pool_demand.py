"""What waits for each pool and how many replicas that needs, read and decided for all at once.

Most pools are as they were at the reading before, and cost no more than that. Must not change
anything: a pool with news is looked at by `PoolReconciler`.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmjobs_core.names import PoolKey
from llmjobs_core.pools import PoolStats
from llmjobs_core.resources import LLMWorkerPool
from llmjobs_core.store import JobStore
from llmjobs_operator.objects import Kind, ObjectKey
from llmjobs_operator.pool_status import Trouble, find_trouble
from llmjobs_operator.scaling import (
    Need,
    ScalingDecision,
    decide_replicas,
    longest_window_s,
    remember,
)
from llmjobs_operator.view import ClusterView, Stamp


@dataclass(frozen=True, slots=True)
class Look:
    """What a pool's last look was based on; while it stays so, another finds nothing to do."""

    stamp: Stamp | None
    stats: PoolStats
    trouble: Trouble | None
    decision: ScalingDecision


class PoolDemand:
    """Reads the demand of all pools, and remembers what each has needed."""

    def __init__(self, store: JobStore, view: ClusterView, *, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._view = view
        self._now_ms = now_ms
        self._looks: dict[PoolKey, Look] = {}
        self._history: defaultdict[PoolKey, deque[Need]] = defaultdict(deque)

    async def find_news(self) -> list[ObjectKey]:
        """Return the pools that are worth a look: their demand or their decision is another.

        One round trip for all. Raises RetryableError.
        """
        keys = self._view.keys(Kind.POOL)
        pools = [PoolKey(key.namespace, key.name) for key in keys]
        readings = await self._store.fetch_pools(pools)
        return [
            key
            for key, pool, stats in zip(keys, pools, readings, strict=True)
            if self._is_news(key, pool, stats)
        ]

    def _is_news(self, key: ObjectKey, pool: PoolKey, stats: PoolStats | None) -> bool:
        look = self._looks.get(pool)
        if look is None or stats is None or self._view.stamp(key) != look.stamp:
            return True
        demand = (stats.registration, stats.queued, stats.running)
        if demand != (look.stats.registration, look.stats.queued, look.stats.running):
            return True
        if find_trouble(self._view.pods(pool), now_ms=self._now_ms()) != look.trouble:
            return True
        decision = self.decide(self._view.pool(key), pool, stats)
        told = (decision.replicas, decision.reason, decision.message)
        return told != (look.decision.replicas, look.decision.reason, look.decision.message)

    def decide(self, pool: LLMWorkerPool, key: PoolKey, stats: PoolStats | None) -> ScalingDecision:
        """Decide on the replicas, and remember what was needed; *stats* is None if unknown."""
        current, ready = count_replicas(self._view.deployment(key))
        decision = decide_replicas(
            pool.spec,
            stats,
            current=current,
            ready=ready,
            history=self._history[key],
            now_ms=self._now_ms(),
        )
        if decision.need is not None:
            window_s = longest_window_s(pool.spec.scaling)
            remember(self._history[key], decision.need, window_s)
        return decision

    def note(
        self, key: ObjectKey, stats: PoolStats, trouble: Trouble | None, decision: ScalingDecision
    ) -> None:
        """Remember what a look was based on that has left nothing to do."""
        pool = PoolKey(key.namespace, key.name)
        self._looks[pool] = Look(self._view.stamp(key), stats, trouble, decision)

    def forget(self, key: PoolKey) -> None:
        """Forget a pool that is gone."""
        self._looks.pop(key, None)
        self._history.pop(key, None)


def count_replicas(deployment: Mapping[str, Any] | None) -> tuple[int, int]:
    """Return how many replicas a Deployment asks for, and how many are ready; None has none."""
    spec = (deployment or {}).get("spec") or {}
    status = (deployment or {}).get("status") or {}
    return int(spec.get("replicas", 0)), int(status.get("readyReplicas", 0))
