"""What follows from seeing an object, whoever told of it: Kopf's watch, or the audit."""

from collections.abc import Callable
from typing import Any

from llmjobs_core.names import PoolKey
from llmjobs_operator.audit import LISTED
from llmjobs_operator.job_reconciler import JobReconciler
from llmjobs_operator.leader import LeaderElection
from llmjobs_operator.objects import OWNED_KINDS, Kind, ObjectKey
from llmjobs_operator.view import ClusterView, pool_of
from llmjobs_operator.worklist import Worklist


class Sightings:
    """Remembers what is seen, and puts on the worklist what to look at."""

    def __init__(
        self,
        view: ClusterView,
        work: Worklist,
        jobs: JobReconciler,
        election: LeaderElection,
        *,
        poke_pool: Callable[[PoolKey], None],
    ) -> None:
        self._view = view
        self._work = work
        self._jobs = jobs
        self._election = election
        self._poke_pool = poke_pool
        self.on_pool: Callable[[str], None] = lambda _namespace: None
        """Called with the namespace of a pool that was seen: jobs may wait for it there."""

    def see(self, kind: Kind, event: Any) -> None:
        """Take one watch event."""
        body = event["object"]
        meta = body["metadata"]
        key = ObjectKey(kind, meta["namespace"], meta["name"])
        gone = event["type"] == "DELETED"
        if gone:
            self._view.forget(key, meta["uid"])
        else:
            self._view.see(key, body, anyway=event["type"] == LISTED)
        if kind in OWNED_KINDS:
            pool = pool_of(body)
            if pool is not None:
                self._poke_pool(pool)
            return
        if kind is Kind.JOB and gone:
            self._see_job_gone(key, meta["uid"])
        self._work.add(key)
        if kind is Kind.POOL:
            self.on_pool(key.namespace)

    def _see_job_gone(self, key: ObjectKey, uid: str) -> None:
        self._work.release(key)
        # One that begins to lead finds the orphans itself.
        if self._election.leading.is_set():
            self._jobs.note_gone(key, uid)
