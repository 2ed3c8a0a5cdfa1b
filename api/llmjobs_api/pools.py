"""Which pool serves a model, remembered for a moment so that a submission costs one round trip."""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from llmjobs_core.errors import PoolNotFound
from llmjobs_core.names import PoolKey
from llmjobs_core.pools import PoolStats

TTL_S = 1.0
NAMESPACES_MAX = 1000


class PoolStore(Protocol):
    """What the directory needs of the store."""

    async def list_models(self, namespace: str) -> Mapping[str, PoolKey]:
        """Return the served models of a namespace."""

    async def fetch_pool(self, key: PoolKey) -> PoolStats:
        """Return one reading of a pool."""


class PoolDirectory:
    """Resolves models and pool names; an answer is at most ``TTL_S`` old, a «no» always fresh."""

    def __init__(self, store: PoolStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._models: dict[str, tuple[float, Mapping[str, PoolKey]]] = {}

    async def resolve_model(self, namespace: str, model: str) -> PoolKey:
        """Return the pool that serves *model*; raises PoolNotFound, StoreUnavailable."""
        found = self._models.get(namespace)
        if found is None or found[0] <= self._clock() or model not in found[1]:
            models = await self._read(namespace)
        else:
            models = found[1]
        try:
            return models[model]
        except KeyError:
            raise PoolNotFound("no pool in this namespace serves this model") from None

    async def choose_model(self, key: PoolKey, model: str) -> str | None:
        """Return the model that a job for pool *key* runs: *model*, or the pool's first if empty.

        None when the pool does not serve it; raises PoolNotFound when there is no such pool.
        """
        stats = await self._store.fetch_pool(key)
        models = stats.registration.models
        if not model:
            return models[0] if models else None
        return model if model in models else None

    async def only_model(self, namespace: str) -> str | None:
        """Return the namespace's model if it serves exactly one."""
        models = await self._read(namespace)
        return next(iter(models)) if len(models) == 1 else None

    def forget(self, namespace: str) -> None:
        """Ask the store again next time: what was remembered proved wrong."""
        self._models.pop(namespace, None)

    async def _read(self, namespace: str) -> Mapping[str, PoolKey]:
        models = await self._store.list_models(namespace)
        if len(self._models) >= NAMESPACES_MAX:
            self._models.clear()
        self._models[namespace] = (self._clock() + TTL_S, models)
        return models
