"""LLMJobs that have ended: little is kept of them, and only time or an edit concerns them."""

from collections.abc import Callable

from llmjobs_core.names import build_owned_job_id
from llmjobs_operator.cluster import Cluster
from llmjobs_operator.job_plan import plan_expiry
from llmjobs_operator.job_reads import JobReads
from llmjobs_operator.objects import ObjectKey, parse_time
from llmjobs_operator.view import ClusterView, Settled
from llmjobs_operator.worklist import Worklist


class Settling:
    """Lets LLMJobs rest, and deletes them when their time to live has passed."""

    def __init__(
        self,
        cluster: Cluster,
        reads: JobReads,
        view: ClusterView,
        work: Worklist,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._cluster = cluster
        self._reads = reads
        self._view = view
        self._work = work
        self._now_ms = now_ms

    def settle(self, key: ObjectKey) -> None:
        """Keep no more of the object than is needed, and come back when its time to live is up."""
        settled = self._view.settle(key)
        if settled is not None:
            self._come_back(key, settled)

    async def is_at_rest(self, key: ObjectKey) -> bool:
        """Whether nothing is left to do of an object, once this has been.

        After a restore of an older store its job may not have ended: then it is live again, and
        whole in the view. Raises RetryableError; ObjectGone where there is no object for that job.
        """
        settled = self._view.settled(key)
        if settled is None:
            return False
        job_id = build_owned_job_id(settled.uid, parse_time(settled.created))
        record = await self._reads.fetch_record(job_id)
        if record is not None and not record.state.is_terminal:
            self._view.see(key, await self._cluster.fetch(key), anyway=True)
            return False
        if self._find_left_s(settled) == 0:
            await self._cluster.delete(key, settled.uid)
        else:
            self._come_back(key, settled)
        return True

    def _come_back(self, key: ObjectKey, settled: Settled) -> None:
        again_in_s = self._find_left_s(settled)
        if again_in_s is not None:
            self._work.add(key, delay_s=again_in_s)

    def _find_left_s(self, settled: Settled) -> float | None:
        return plan_expiry(settled.ttl_s, settled.ended, now_ms=self._now_ms())
