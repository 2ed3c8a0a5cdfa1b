"""What the operator does all the time: work off the list, follow the store, resync."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from llmjobs_core.errors import LLMJobsError, RetryableError
from llmjobs_core.names import PoolKey
from llmjobs_core.store import ChangeReader, JobStore
from llmjobs_core.tasks import end_tasks
from llmjobs_operator.audit import ClusterAudit
from llmjobs_operator.conditions import is_true
from llmjobs_operator.job_plan import plan_expiry
from llmjobs_operator.job_reconciler import JobReconciler
from llmjobs_operator.leader import LeaderElection
from llmjobs_operator.metrics import OperatorMetrics
from llmjobs_operator.objects import OWNED_KINDS, Kind, ObjectKey
from llmjobs_operator.pool_demand import PoolDemand
from llmjobs_operator.pool_reconciler import PoolReconciler, pool_object_key
from llmjobs_operator.view import ClusterView
from llmjobs_operator.worklist import Worklist

_log = structlog.get_logger(__name__)

_RETRY_FIRST_S = 0.3
_RETRY_MOST_S = 30.0
REAP_S = 0.5
ORPHANS_EVERY = 20
"""Every so many resyncs the store's jobs are compared with the LLMJobs, and whenever we begin to
lead: an object that went before is nobody's to release."""


class Loops:
    """The operator's standing tasks; each runs until cancelled and survives every known error."""

    def __init__(
        self,
        *,
        view: ClusterView,
        work: Worklist,
        store: JobStore,
        jobs: JobReconciler,
        pools: PoolReconciler,
        demand: PoolDemand,
        election: LeaderElection,
        audit: ClusterAudit,
        wait_listed: Callable[[], Awaitable[None]],
        metrics: OperatorMetrics,
    ) -> None:
        """*wait_listed* returns when Kopf is not in the middle of a list."""
        self._view = view
        self._work = work
        self._store = store
        self._jobs = jobs
        self._pools = pools
        self._demand = demand
        self._election = election
        self._audit = audit
        self._wait_listed = wait_listed
        self._metrics = metrics
        self._failures: dict[ObjectKey, int] = {}
        self._orphans_due = False
        self._surveyed = asyncio.Event()

    async def work(self) -> None:
        """Reconcile one key after another while leading."""
        await self._surveyed.wait()
        while True:
            await self._election.wait_to_act()
            key = await self._work.take()
            try:
                if self._election.may_act():
                    await self._reconcile(key)
                else:
                    self._work.add(key)
            finally:
                self._work.done(key)

    async def _reconcile(self, key: ObjectKey) -> None:
        reconciler = self._jobs if key.kind is Kind.JOB else self._pools
        began = time.monotonic()
        # A task of its own: what goes wrong with one object, a bug included, is for that object
        # alone to wait for, and must not end the operator.
        attempt = asyncio.create_task(reconciler.reconcile(key))
        try:
            await asyncio.wait({attempt})
        except asyncio.CancelledError:
            await end_tasks([attempt])
            raise
        if attempt.cancelled():
            # Not by us: by somebody who cancels tasks that he does not know.
            error: BaseException | None = asyncio.CancelledError("cancelled from outside")
        else:
            error = attempt.exception()
        if error is None:
            self._failures.pop(key, None)
        else:
            self._retry(key, error)
        self._metrics.reconcile_seconds.labels(str(key.kind)).observe(time.monotonic() - began)

    def _retry(self, key: ObjectKey, error: BaseException) -> None:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay_s = min(_RETRY_MOST_S, _RETRY_FIRST_S * 2 ** min(count - 1, 10))
        kind = type(error).__name__
        self._metrics.reconcile_errors.labels(str(key.kind), kind).inc()
        say = _log.info if isinstance(error, RetryableError) and count < 5 else _log.warning
        say(
            "reconcile_again",
            kind=str(key.kind),
            namespace=key.namespace,
            name=key.name,
            error=kind,
            message=str(error),
            in_s=round(delay_s, 1),
            exc_info=None if isinstance(error, LLMJobsError) else error,
        )
        self._work.add(key, delay_s=delay_s)

    async def follow_changes(self, reader: ChangeReader) -> None:
        """Look at every job that the store says has changed."""
        while True:
            try:
                await reader.start()
                self.look_at_jobs()
                while True:
                    for change in await reader.read():
                        self._work.add(ObjectKey(Kind.JOB, change.namespace, change.name))
            except RetryableError as error:
                _log.warning("change_stream_lost", error=str(error))
                await asyncio.sleep(_RETRY_FIRST_S)

    async def follow_demand(self, every_s: float) -> None:
        """Look at every pool's demand; the decision is cheap, and writes nothing when it stands."""
        while True:
            await self._election.wait_to_act()
            try:
                keys = await self._demand.find_news()
            except LLMJobsError as error:
                _log.info("demand_not_read", error=str(error))
                keys = self._view.keys(Kind.POOL)  # each says that its demand is not known
            for key in keys:
                self._work.add(key)
            await asyncio.sleep(every_s)

    async def resync(self, every_s: float) -> None:
        """Look at everything again now and then: no event is needed for things to come right."""
        await self._survey()
        for number in itertools.count():
            await self._election.wait_to_act()
            if self._election.gained.is_set() or number % ORPHANS_EVERY == 0:
                self._election.gained.clear()
                self._orphans_due = True
            try:
                await self._resync_once()
            except LLMJobsError as error:
                _log.warning("resync_incomplete", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._election.gained.wait()

    async def _survey(self) -> None:
        """See all pools and what belongs to them once; nothing is reconciled before.

        Watches tell of them in any order, and some of them late: whoever knew a Deployment and not
        yet its pool would take the pool for deleted, and refuse its jobs.
        """
        while True:
            try:
                await self._audit.compare([Kind.POOL, *OWNED_KINDS])
            except LLMJobsError as error:
                _log.info("survey_incomplete", error=str(error))
                await asyncio.sleep(_RETRY_FIRST_S)
            else:
                self._surveyed.set()
                return

    async def _resync_once(self) -> None:
        self._pools.forget_registrations()
        self.look_at_expired()
        # Else every object that Kopf is about to tell of would be fetched, one by one.
        await self._wait_listed()
        await self._audit.compare()
        for key in await self._jobs.find_changed():
            self._work.add(key)
        self._metrics.audits.inc()
        if self._orphans_due:
            await self._audit.release_orphans()
            self._orphans_due = False
        for key in self._view.keys(Kind.POOL):
            self._work.add(key)
        known = {PoolKey(k.namespace, k.name) for k in self._view.keys(Kind.POOL)}
        for pool in await self._store.list_pools():
            if pool not in known and self._audit.covers(pool.namespace):
                self._work.add(pool_object_key(pool))

    async def reap(self) -> None:
        """Recover lost work, as every worker and gateway does too."""
        while True:
            try:
                await self._store.reap()
            except RetryableError as error:
                _log.debug("reap_failed", error=str(error))
            await asyncio.sleep(REAP_S)

    def look_at_jobs(self) -> None:
        """Put every LLMJob that has not ended, or whose time to live has passed, on the list."""
        for key in self._view.keys(Kind.JOB):
            body = self._view.get(key)
            if body is not None and not is_true(body.get("status") or {}, "Finished"):
                self._work.add(key)
        self.look_at_expired()

    def look_at_expired(self) -> None:
        """Put the LLMJobs whose time to live has passed on the list."""
        now_ms = time.time_ns() // 1_000_000
        for key in self._view.keys(Kind.JOB):
            body = self._view.get(key)
            if body is not None and _is_expired(body, now_ms):
                self._work.add(key)
        for key, settled in self._view.settled_jobs():
            if plan_expiry(settled.ttl_s, settled.ended, now_ms=now_ms) == 0:
                self._work.add(key)

    def look_at_jobs_of(self, pool: PoolKey) -> None:
        """Put the jobs of a pool that have not ended on the list."""
        for key in self._view.keys(Kind.JOB):
            status = (self._view.get(key) or {}).get("status") or {}
            same = (key.namespace, status.get("pool")) == (pool.namespace, pool.name)
            if same and not is_true(status, "Finished"):
                self._jobs.expect_news(key)
                self._work.add(key)

    def look_at_waiting_jobs(self, namespace: str) -> None:
        """Put the jobs of a namespace that no pool has accepted yet on the list."""
        for key in self._view.keys(Kind.JOB):
            body = self._view.get(key)
            if key.namespace != namespace or body is None:
                continue
            status = body.get("status") or {}
            if not is_true(status, "Accepted") and not is_true(status, "Finished"):
                self._work.add(key)


def _is_expired(body: Mapping[str, Any], now_ms: int) -> bool:
    ttl_s = (body.get("spec") or {}).get("ttlSecondsAfterFinished")
    ended = (body.get("status") or {}).get("completionTime")
    return plan_expiry(ttl_s, ended, now_ms=now_ms) == 0
