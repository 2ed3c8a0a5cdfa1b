"""Giving an LLMJob to the store: its pool found, its batch read, its job submitted."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from llmjobs_core.errors import PoolNotFound, StateConflict, StoreUnavailable
from llmjobs_core.jobs import BatchLine
from llmjobs_core.names import PoolKey
from llmjobs_core.requests import InvalidRequest, parse_batch_lines
from llmjobs_core.resources import LLMJob, build_new_job
from llmjobs_core.resources.parse import resolved_model
from llmjobs_core.store import JobStore
from llmjobs_operator.cluster import Cluster
from llmjobs_operator.job_status import Refusal
from llmjobs_operator.view import ClusterView


class RefusedError(Exception):
    """The job can't be accepted as it is."""

    def __init__(self, reason: str, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.refusal = Refusal(reason, message, final)


class JobSubmitter:
    """Submits LLMJobs; the same one again is the same job."""

    def __init__(
        self,
        cluster: Cluster,
        store: JobStore,
        view: ClusterView,
        *,
        poke_pool: Callable[[PoolKey], None],
    ) -> None:
        """*poke_pool* is called when there may be work for a pool that it does not know of."""
        self._cluster = cluster
        self._store = store
        self._view = view
        self._poke_pool = poke_pool

    async def submit(self, job: LLMJob, status: Mapping[str, Any]) -> tuple[str, PoolKey]:
        """Submit *job*, whose *status* is as it was read; returns the job's id and its pool.

        Raises RefusedError, and RetryableError to be called again.
        """
        pool, model = self._resolve_pool(job)
        has_lines = job.spec.batch is not None and not job.spec.cancel
        lines = await self._read_batch(job, model) if has_lines else None
        new = build_new_job(job, pool, model, status=status)
        self._cluster.require_leading()
        try:
            submitted = await self._store.submit(new)
            if lines is not None:
                await self._fill_batch(submitted.job_id, lines)
        except PoolNotFound as error:
            # The pool is there, but not in the store yet.
            self._poke_pool(pool)
            raise StoreUnavailable(str(error)) from error
        self._poke_pool(pool)
        return submitted.job_id, pool

    async def _read_batch(self, job: LLMJob, model: str) -> list[BatchLine]:
        """Return the lines of a batch; raises RefusedError, naming a bad line by its number."""
        text = await self._read_batch_text(job)
        try:
            return list(parse_batch_lines((row.encode() for row in text.split("\n")), model=model))
        except InvalidRequest as error:
            raise RefusedError("InvalidSpec", f"spec.batch: {error}", final=True) from error

    async def _read_batch_text(self, job: LLMJob) -> str:
        batch = job.spec.batch
        if batch is not None and batch.inline is not None:
            return batch.inline
        ref = batch.config_map_ref if batch is not None else None
        if ref is None:
            raise RefusedError("InvalidSpec", "spec.batch: has no source", final=True)
        text = await self._cluster.fetch_config_map_value(job.metadata.namespace, ref.name, ref.key)
        if text is None:
            message = f"ConfigMap {ref.name} with key {ref.key} is not there; waiting for it"
            raise RefusedError("InputNotFound", message, final=False)
        return text

    async def _fill_batch(self, job_id: str, lines: list[BatchLine]) -> None:
        """Write the lines and seal the batch; both are harmless when repeated."""
        # Where it was sealed already, an operator before this one did.
        with contextlib.suppress(StateConflict):
            await self._store.append_lines(job_id, 0, lines)
            await self._store.seal(job_id)

    def _resolve_pool(self, job: LLMJob) -> tuple[PoolKey, str]:
        """Return the pool and model of a job; raises RefusedError, to be lifted by a new pool."""
        namespace, model = job.metadata.namespace, resolved_model(job.spec)
        for pool in self._view.pools(namespace):
            named = job.spec.pool_ref is not None and job.spec.pool_ref.name == pool.metadata.name
            serves = job.spec.pool_ref is None and model in pool.spec.models
            if named or serves:
                return PoolKey(namespace, pool.metadata.name), model or pool.spec.models[0]
        wanted = (
            f"is named {job.spec.pool_ref.name}"
            if job.spec.pool_ref is not None
            else f"serves model {model}"
        )
        text = f"no LLMWorkerPool in namespace {namespace} {wanted}; waiting for one"
        raise RefusedError("PoolNotFound", text, final=False)
