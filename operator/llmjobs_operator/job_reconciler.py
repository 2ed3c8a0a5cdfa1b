"""Bringing one LLMJob and its job in the store in line: observe, plan, apply, report."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from llmjobs_core.errors import StateConflict, StoreUnavailable
from llmjobs_core.explain import explain_waiting
from llmjobs_core.jobs import JobKind, JobRecord
from llmjobs_core.names import PoolKey
from llmjobs_core.resources import InvalidResource, LLMJob, owned_job_id, parse_llmjob
from llmjobs_core.resources.common import ObjectMeta
from llmjobs_core.store import JobStore, Standing
from llmjobs_operator.audit import release_job
from llmjobs_operator.cluster import Cluster, ObjectGone
from llmjobs_operator.conditions import is_true
from llmjobs_operator.endings import Endings
from llmjobs_operator.job_events import NewEvent, plan_job_events
from llmjobs_operator.job_plan import JobPlan, Step, plan_job
from llmjobs_operator.job_reads import JobReads
from llmjobs_operator.job_status import (
    Refusal,
    build_job_status,
    build_refused_status,
    is_worth_writing,
)
from llmjobs_operator.job_submitter import JobSubmitter, RefusedError
from llmjobs_operator.looks import Looks
from llmjobs_operator.metrics import OperatorMetrics
from llmjobs_operator.objects import FINALIZER, ObjectKey
from llmjobs_operator.recorder import publish_events
from llmjobs_operator.settling import Settling
from llmjobs_operator.view import ClusterView
from llmjobs_operator.worklist import Worklist

STATUS_HOLD_S = 1.0
"""At most one status write a second per object."""
STATUS_FRESH_S = 5.0
"""What moves all the time is written this often at most."""
FINALIZER_AFTER_S = 10.0
"""How long an LLMJob that was queued waits for our finalizer, unless it is looked at sooner: 1,000
that come at once are queued in 7 s, and have their turn first."""

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
        endings: Endings,
        *,
        poke_pool: Callable[[PoolKey], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._endings = endings
        self._cluster = cluster
        self._store = store
        self._view = view
        self._work = work
        self._metrics = metrics
        self._reads = JobReads(store)
        self._submitter = JobSubmitter(cluster, store, view, poke_pool=poke_pool)
        self._now_ms = now_ms
        self._written_ms: dict[str, int] = {}
        self._settling = Settling(cluster, self._reads, view, work, now_ms=now_ms)
        self._looks = Looks(self._reads, view)
        self._departed: dict[ObjectKey, set[str]] = {}

    def note_gone(self, key: ObjectKey, uid: str) -> None:
        """Remember that the object with this very *uid* is gone; :meth:`reconcile` ends its work.

        Mostly our finalizer has seen to it; not where it was taken away by hand.
        """
        self._departed.setdefault(key, set()).add(uid)
        self._looks.forget(key)
        self._written_ms.pop(uid, None)

    async def reconcile(self, key: ObjectKey) -> None:
        """Bring the object in line; raises RetryableError to be called again."""
        await self._end_departed(key)
        form = self._view.stamp(key)
        try:
            if await self._settling.is_at_rest(key):
                return
        except ObjectGone:
            if form is not None:
                self._view.forget(key, form[0])
                await self._end_work(key.namespace, form[0])
            return
        body = self._view.get(key)
        if body is None:
            return
        meta = ObjectMeta.model_validate(body["metadata"])
        if meta.deletion_timestamp is not None:
            await self._release(key, meta)
            return
        try:
            await self._bring_in_line(key, body, body.get("status") or {})
        except InvalidResource as error:
            refusal = Refusal("InvalidSpec", str(error), final=True)
            await self._refuse(key, meta, body.get("status") or {}, refusal)
        except ObjectGone:
            self._view.forget(key, meta.uid)
            await self._end_work(key.namespace, meta.uid)

    async def _bring_in_line(
        self, key: ObjectKey, body: Mapping[str, Any], status: Mapping[str, Any]
    ) -> None:
        since_ms = self._now_ms() - int(STATUS_FRESH_S * 1000)
        has_finalizer = FINALIZER in (body["metadata"].get("finalizers") or ())
        if has_finalizer and await self._looks.is_known(key, since_ms=since_ms):
            # Only its place may be another, and that is not worth a write yet.
            self._work.add(key, delay_s=STATUS_FRESH_S)
            return
        self._looks.begin(key)
        # What was accepted once is not refused later, whatever the rules are by then.
        job = parse_llmjob(body)
        standing = await self._find(job, status)
        plan = plan_job(
            job,
            standing.record,
            finished=is_true(status, "Finished"),
            ended=status.get("completionTime"),
            now_ms=self._now_ms(),
        )
        try:
            standing = await self._apply(key, job, standing, plan, status)
        except RefusedError as error:
            refusal = CANCELLED if job.spec.cancel else error.refusal
            await self._refuse(key, job.metadata, status, refusal)
            return
        if plan.again_in_s is not None:
            self._work.add(key, delay_s=plan.again_in_s)
        if not has_finalizer and Step.ADD_FINALIZER not in plan.steps:
            self._work.add(key, delay_s=FINALIZER_AFTER_S)
        if standing.record is not None and Step.DELETE_OBJECT not in plan.steps:
            await self._report(key, job.metadata, status, standing.record, standing)
        elif Step.DELETE_OBJECT not in plan.steps:
            self._settling.settle(key)

    async def _end_departed(self, key: ObjectKey) -> None:
        for uid in sorted(self._departed.get(key, ())):
            await self._end_work(key.namespace, uid)
            self._departed[key].discard(uid)
        if not self._departed.get(key, True):
            del self._departed[key]

    # -- observing ----------------------------------------------------------------------------

    async def _find(self, job: LLMJob, status: Mapping[str, Any]) -> Standing:
        """Return the job of this very LLMJob; what its status says of an id proves nothing."""
        job_id, name = owned_job_id(job.metadata), status.get("pool")
        if name:
            pool = PoolKey(job.metadata.namespace, name)
            found = await self._reads.fetch_standing(job_id, pool)
        else:
            found = Standing(await self._reads.fetch_record(job_id), None, None)
        is_ours = found.record is not None and found.record.owner == job.metadata.uid
        return found if is_ours else Standing(None, None, None)

    # -- applying -----------------------------------------------------------------------------

    async def _apply(
        self,
        key: ObjectKey,
        job: LLMJob,
        standing: Standing,
        plan: JobPlan,
        status: Mapping[str, Any],
    ) -> Standing:
        """Take the steps of *plan*; returns how the job stands then."""
        record, place = standing.record, None
        if record is not None:
            place = record.id, record.pool
        is_known = standing.stats is not None or record is None
        for step in plan.steps:
            if step is Step.ADD_FINALIZER:
                finalizers = [*job.metadata.finalizers, FINALIZER]
                body = await self._cluster.apply_finalizers(
                    key, job.metadata.uid, job.metadata.resource_version, finalizers
                )
                self._see(key, body, job.metadata)
            elif step is Step.SUBMIT:
                place, is_known = await self._submitter.submit(job, status), False
            elif step is Step.DELETE_OBJECT:
                await self._cluster.delete(key, job.metadata.uid)
            elif place is not None:
                await self._change(place[0], step, job)
                is_known = False
        if is_known or place is None:
            return standing
        after = await self._reads.fetch_standing(*place)
        if after.record is None:
            raise StoreUnavailable(f"job {place[0]} was lost meanwhile")
        return after

    async def _change(self, job_id: str, step: Step, job: LLMJob) -> None:
        self._cluster.require_leading()
        # Where it ended meanwhile, the fresh record says how.
        with contextlib.suppress(StateConflict):
            if step is Step.SUSPEND:
                await self._store.suspend(job_id)
            elif step is Step.RESUME:
                await self._store.resume(job_id)
            elif step is Step.CANCEL:
                await self._store.cancel(job_id, "cancelled by its owner")
            elif step is Step.RECLASSIFY:
                await self._store.reclassify(job_id, job_class=job.spec.job_class)

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
            body = await self._cluster.apply_finalizers(key, meta.uid, meta.resource_version, rest)
            self._view.see(key, body)
        if not rest:
            # Gone with its last finalizer. Until that is told, news of its job would find it here.
            self._view.forget(key, meta.uid)
        self._written_ms.pop(meta.uid, None)

    async def _end_work(self, namespace: str, uid: str) -> None:
        job_id = await self._store.find_by_key(namespace, uid)
        if job_id is not None:
            self._cluster.require_leading()
            await release_job(self._store, job_id)

    def _see(self, key: ObjectKey, body: Mapping[str, Any], known: ObjectMeta) -> None:
        """Take in the object as our own write left it: its event will tell nothing new.

        Unless somebody changed what was asked for since we looked, or took our finalizer away;
        then there is more to do.
        """
        self._view.see(key, body)
        meta = body["metadata"]
        is_other = meta.get("generation") != known.generation or meta.get("deletionTimestamp")
        if is_other or not set(known.finalizers) <= set(meta.get("finalizers") or ()):
            self._work.add(key)
        else:
            self._looks.follow(key, body)

    # -- reporting ----------------------------------------------------------------------------

    async def _report(
        self,
        key: ObjectKey,
        meta: ObjectMeta,
        before: Mapping[str, Any],
        record: JobRecord,
        standing: Standing,
    ) -> None:
        stats, now_ms = standing.stats, self._now_ms()
        preview = ""
        if record.state.is_terminal and record.kind is JobKind.REQUEST:
            preview = await self._reads.fetch_preview(record.id)
        at_ms = stats.now_ms if stats else now_ms
        explained = explain_waiting(record, stats, standing.waiting, at_ms)
        status = build_job_status(
            before,
            record,
            explained,
            preview=preview,
            generation=meta.generation,
            now_ms=now_ms,
        )
        await self._write(key, meta, before, status)
        if not record.state.is_terminal:
            self._looks.note(key, record, explained, now_ms=now_ms)

    def expect_news(self, key: ObjectKey) -> None:
        """Take nothing for known at the next look: what the LLMJob waits for may be another."""
        self._looks.forget(key)

    async def find_changed(self) -> list[ObjectKey]:
        """Return the live LLMJobs that are not as they were when last looked at.

        Raises RetryableError.
        """
        return await self._looks.find_changed(self._now_ms())

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
            if is_true(status, "Finished"):
                self._settling.settle(key)
            elif fresh and before != status:
                self._work.add(key, delay_s=STATUS_FRESH_S)
            return
        if await self._endings.is_ending(key.namespace):
            return
        try:
            body = await self._cluster.apply_status(key, meta.uid, status, before)
        except ObjectGone:
            self._view.forget(key, meta.uid)
            await self._end_work(key.namespace, meta.uid)
            return
        self._see(key, body, meta)
        self._written_ms[meta.uid] = now_ms
        self._work.hold(key, STATUS_HOLD_S)
        self._metrics.status_writes.labels(str(key.kind)).inc()
        events: list[NewEvent] = plan_job_events(before, status)
        await publish_events(self._cluster, key, meta.uid, events)
        if is_true(status, "Finished"):
            self._written_ms.pop(meta.uid, None)
            self._looks.forget(key)
            self._settling.settle(key)
