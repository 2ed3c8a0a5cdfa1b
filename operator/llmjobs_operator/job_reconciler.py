"""Bringing one LLMJob and its job in the store in line: observe, plan, apply, report."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from llmjobs_core.errors import JobNotFound, PoolNotFound, StateConflict
from llmjobs_core.explain import explain_waiting
from llmjobs_core.jobs import JobKind, JobRecord
from llmjobs_core.names import PoolKey
from llmjobs_core.pools import PoolStats, Waiting
from llmjobs_core.resources import InvalidResource, LLMJob, owned_job_id, parse_llmjob
from llmjobs_core.resources.common import ObjectMeta
from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_operator.audit import release_job
from llmjobs_operator.cluster import Cluster, ObjectGone
from llmjobs_operator.conditions import is_true
from llmjobs_operator.job_events import NewEvent, plan_job_events
from llmjobs_operator.job_plan import JobPlan, Step, plan_job
from llmjobs_operator.job_status import (
    Refusal,
    build_job_status,
    build_refused_status,
    is_worth_writing,
)
from llmjobs_operator.job_submitter import JobSubmitter, RefusedError
from llmjobs_operator.metrics import OperatorMetrics
from llmjobs_operator.objects import FINALIZER, ObjectKey
from llmjobs_operator.recorder import publish_events
from llmjobs_operator.view import ClusterView
from llmjobs_operator.worklist import Worklist

STATUS_HOLD_S = 1.0
"""At most one status write a second per object."""
STATUS_FRESH_S = 5.0
"""What moves all the time is written this often at most."""

CANCELLED = Refusal("Cancelled", "cancelled before any pool could take it", final=True)


class JobReconciler:
    """Works on LLMJobs, one key at a time."""

    def __init__(
        self,
        cluster: Cluster,
        store: JobStore,
        view: ClusterView,
        work: Worklist,
        metrics: OperatorMetrics,
        *,
        poke_pool: Callable[[PoolKey], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._view = view
        self._work = work
        self._metrics = metrics
        self._submitter = JobSubmitter(cluster, store, view, poke_pool=poke_pool)
        self._now_ms = now_ms
        self._written_ms: dict[str, int] = {}
        self._departed: dict[ObjectKey, set[str]] = {}

    def note_gone(self, key: ObjectKey, uid: str) -> None:
        """Remember that the object with this very *uid* is gone; :meth:`reconcile` ends its work.

        Mostly our finalizer has seen to it; not where it was taken away by hand.
        """
        self._departed.setdefault(key, set()).add(uid)
        self._written_ms.pop(uid, None)

    async def reconcile(self, key: ObjectKey) -> None:
        """Bring the object in line; raises RetryableError to be called again."""
        for uid in sorted(self._departed.get(key, ())):
            await self._end_work(key.namespace, uid)
            self._departed[key].discard(uid)
        if not self._departed.get(key, True):
            del self._departed[key]
        body = self._view.get(key)
        if body is None:
            return
        meta = ObjectMeta.model_validate(body["metadata"])
        if meta.deletion_timestamp is not None:
            await self._release(key, meta)
            return
        status: Mapping[str, Any] = body.get("status") or {}
        try:
            # What was accepted once is not refused later, whatever the rules are by then.
            job = parse_llmjob(body)
            record = await self._find_record(job)
            plan = plan_job(
                job,
                record,
                finished=is_true(status, "Finished"),
                ended=status.get("completionTime"),
                now_ms=self._now_ms(),
            )
            record = await self._apply(key, job, record, plan, status)
        except InvalidResource as error:
            refusal = Refusal("InvalidSpec", str(error), final=True)
            await self._refuse(key, meta, status, refusal)
            return
        except RefusedError as error:
            refusal = CANCELLED if job.spec.cancel else error.refusal
            await self._refuse(key, meta, status, refusal)
            return
        except ObjectGone:
            self._view.forget(key, meta.uid)
            await self._end_work(key.namespace, meta.uid)
            return
        if plan.again_in_s is not None:
            self._work.add(key, delay_s=plan.again_in_s)
        if record is not None and Step.DELETE_OBJECT not in plan.steps:
            await self._report(key, meta, status, record)

    # -- observing ----------------------------------------------------------------------------

    async def _find_record(self, job: LLMJob) -> JobRecord | None:
        """Return the job of this very LLMJob; what its status says of an id proves nothing."""
        record = (await self._store.fetch_many([owned_job_id(job.metadata)]))[0]
        return record if record is not None and record.owner == job.metadata.uid else None

    # -- applying -----------------------------------------------------------------------------

    async def _apply(
        self,
        key: ObjectKey,
        job: LLMJob,
        record: JobRecord | None,
        plan: JobPlan,
        status: Mapping[str, Any],
    ) -> JobRecord | None:
        for step in plan.steps:
            if step is Step.ADD_FINALIZER:
                finalizers = [*job.metadata.finalizers, FINALIZER]
                body = await self._cluster.apply_finalizers(
                    key, job.metadata.uid, job.metadata.resource_version, finalizers
                )
                self._view.see(key, body)
            elif step is Step.SUBMIT:
                record = await self._submitter.submit(job, status)
            elif step is Step.DELETE_OBJECT:
                await self._cluster.delete(key, job.metadata.uid)
            elif record is not None:
                record = await self._change(record, step, job)
        return record

    async def _change(self, record: JobRecord, step: Step, job: LLMJob) -> JobRecord:
        self._cluster.require_leading()
        # Where it ended meanwhile, the fresh record says how.
        with contextlib.suppress(StateConflict):
            if step is Step.SUSPEND:
                await self._store.suspend(record.id)
            elif step is Step.RESUME:
                await self._store.resume(record.id)
            elif step is Step.CANCEL:
                await self._store.cancel(record.id, "cancelled by its owner")
            elif step is Step.RECLASSIFY:
                await self._store.reclassify(record.id, job_class=job.spec.job_class)
        return await self._store.fetch(record.id)

    async def _release(self, key: ObjectKey, meta: ObjectMeta) -> None:
        """The object is being deleted: its work ends first, then the finalizer goes.

        While the store can't be reached the finalizer stays: without the cancel, work would go on
        for an object that is gone.
        """
        if FINALIZER not in meta.finalizers:
            return
        await self._end_work(meta.namespace, meta.uid)
        rest = [name for name in meta.finalizers if name != FINALIZER]
        with contextlib.suppress(ObjectGone):
            await self._cluster.apply_finalizers(key, meta.uid, meta.resource_version, rest)
        self._written_ms.pop(meta.uid, None)

    async def _end_work(self, namespace: str, uid: str) -> None:
        job_id = await self._store.find_by_key(namespace, uid)
        if job_id is not None:
            self._cluster.require_leading()
            await release_job(self._store, job_id)

    # -- reporting ----------------------------------------------------------------------------

    async def _report(
        self, key: ObjectKey, meta: ObjectMeta, before: Mapping[str, Any], record: JobRecord
    ) -> None:
        now_ms = self._now_ms()
        stats, waiting = await self._observe_queue(record)
        preview = ""
        if record.state.is_terminal and record.kind is JobKind.REQUEST:
            preview = (await self._store.fetch_text(record.id))[:256]
        status = build_job_status(
            before,
            record,
            explain_waiting(record, stats, waiting, stats.now_ms if stats else now_ms),
            preview=preview,
            generation=meta.generation,
            now_ms=now_ms,
        )
        await self._write(key, meta, before, status)

    async def _observe_queue(self, record: JobRecord) -> tuple[PoolStats | None, Waiting | None]:
        if record.state is not JobState.QUEUED:
            return None, None
        try:
            stats = await self._store.fetch_pool(record.pool)
            return stats, await self._store.fetch_waiting(record.id)
        except (PoolNotFound, JobNotFound):
            return None, None

    async def _refuse(
        self, key: ObjectKey, meta: ObjectMeta, before: Mapping[str, Any], refusal: Refusal
    ) -> None:
        status = build_refused_status(
            before, refusal, generation=meta.generation, now_ms=self._now_ms()
        )
        await self._write(key, meta, before, status)

    async def _write(
        self, key: ObjectKey, meta: ObjectMeta, before: Mapping[str, Any], status: dict[str, Any]
    ) -> None:
        """Write the status where it tells something new, and the Events of what changed."""
        now_ms = self._now_ms()
        fresh = now_ms - self._written_ms.get(meta.uid, 0) < STATUS_FRESH_S * 1000
        if not is_worth_writing(before, status, fresh=fresh):
            if fresh and before != status and not is_true(status, "Finished"):
                self._work.add(key, delay_s=STATUS_FRESH_S)
            return
        try:
            body = await self._cluster.apply_status(key, meta.uid, status, before)
        except ObjectGone:
            self._view.forget(key, meta.uid)
            await self._end_work(key.namespace, meta.uid)
            return
        self._view.see(key, body)
        self._written_ms[meta.uid] = now_ms
        self._work.hold(key, STATUS_HOLD_S)
        self._metrics.status_writes.labels(str(key.kind)).inc()
        events: list[NewEvent] = plan_job_events(before, status)
        await publish_events(self._cluster, key, meta.uid, events)
        if is_true(status, "Finished"):
            self._written_ms.pop(meta.uid, None)
            self._work.add(key)
