"""What follows from seeing an object, whoever told of it: Kopf's watch, or the audit."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from llmjobs_core.names import PoolKey
from llmjobs_operator.audit import LISTED
from llmjobs_operator.endings import Endings
from llmjobs_operator.job_plan import plan_expiry
from llmjobs_operator.job_reconciler import JobReconciler
from llmjobs_operator.leader import LeaderElection
from llmjobs_operator.objects import OWNED_KINDS, Kind, ObjectKey
from llmjobs_operator.view import ClusterView, pool_of, stamp_of
from llmjobs_operator.worklist import Worklist

LISTING_BEGINS_S = 3.0
"""Kopf begins to list so long after the start at the latest."""
LISTING_QUIET_S = 1.0
"""A list of which nothing came for so long is at its end."""
LISTING_MOST_S = 30.0


class Sightings:
    """Remembers what is seen, and puts on the worklist what to look at."""

    def __init__(
        self,
        view: ClusterView,
        work: Worklist,
        jobs: JobReconciler,
        election: LeaderElection,
        endings: Endings,
        *,
        poke_pool: Callable[[PoolKey], None],
    ) -> None:
        self._view = view
        self._work = work
        self._jobs = jobs
        self._election = election
        self._endings = endings
        self._poke_pool = poke_pool
        self._listed = asyncio.Event()
        self._silence: asyncio.TimerHandle | None = None
        self._expect_listed(LISTING_BEGINS_S)
        self.on_pool: Callable[[str], None] = lambda _namespace: None
        """Called with the namespace of a pool that was seen: jobs may wait for it there."""

    def see(self, kind: Kind, event: Any) -> None:
        """Take one watch event."""
        body = event["object"]
        meta = body["metadata"]
        key = ObjectKey(kind, meta["namespace"], meta["name"])
        if event["type"] is None:
            self._expect_listed(LISTING_QUIET_S)
        gone = event["type"] == "DELETED"
        known = not gone and self._view.stamp(key) == stamp_of(body)
        if gone:
            self._view.forget(key, meta["uid"])
        else:
            self._view.see(key, body, anyway=event["type"] == LISTED)
        if gone or meta.get("deletionTimestamp"):
            self._endings.suspect(key.namespace)
        if kind in OWNED_KINDS:
            pool = pool_of(body)
            if pool is not None:
                self._poke_pool(pool)
            return
        if kind is Kind.JOB and known:
            # What our own write left, or a list that tells the same again.
            return
        if kind is Kind.JOB and not gone and self._is_of_the_past(event["type"], key):
            return
        if kind is Kind.JOB and gone:
            self._see_job_gone(key, meta["uid"])
        self._work.add(key)
        if kind is Kind.POOL:
            self.on_pool(key.namespace)

    def _is_of_the_past(self, word: str | None, key: ObjectKey) -> bool:
        """Whether another settled an LLMJob: one before us, or the leader that we stand by.

        There may be very many; none is read from the store, or kept whole.
        """
        if word is not None and self._election.leading.is_set():
            return False
        settled = self._view.settle(key)
        if settled is None:
            return False
        now_ms = time.time_ns() // 1_000_000
        again_in_s = plan_expiry(settled.ttl_s, settled.ended, now_ms=now_ms)
        if again_in_s is not None:
            self._work.add(key, delay_s=again_in_s)
        return True

    async def wait_listed(self) -> None:
        """Return when Kopf does not list just now: then what it has not told of, it missed.

        Kopf says nothing at the end of a list, so silence has to do; a list that never ends is not
        waited for.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTING_MOST_S):
                await self._listed.wait()

    def _expect_listed(self, within_s: float) -> None:
        """Take it that a list goes on, for so long."""
        self._listed.clear()
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(within_s, self._listed.set)

    def _see_job_gone(self, key: ObjectKey, uid: str) -> None:
        self._work.release(key)
        # One that begins to lead finds the orphans itself.
        if self._election.leading.is_set():
            self._jobs.note_gone(key, uid)
