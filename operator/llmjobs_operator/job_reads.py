"""What the operator reads of jobs, gathered: many LLMJobs are looked at side by side."""

from collections.abc import Sequence

from llmjobs_core.jobs import JobRecord
from llmjobs_core.names import PoolKey
from llmjobs_core.store import JobStore, Standing
from llmjobs_operator.gathering import Gathering
from llmjobs_operator.job_status import PREVIEW_CHARS


class JobReads:
    """Reads records, places and texts; raises RetryableError where the store can't be read."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._records = Gathering[str, JobRecord | None](store.fetch_many)
        self._standings = Gathering[tuple[str, PoolKey], Standing](self.fetch_standings)
        self._previews = Gathering[str, str](self._fetch_previews)

    async def fetch_record(self, job_id: str) -> JobRecord | None:
        """Return a job; None where there is none."""
        return await self._records.fetch(job_id)

    async def fetch_standing(self, job_id: str, pool: PoolKey) -> Standing:
        """Return a job with its pool and its place there; *pool* is where it should be."""
        standing = await self._standings.fetch((job_id, pool))
        if standing.record is not None and standing.record.pool != pool:
            return await self._standings.fetch((job_id, standing.record.pool))
        return standing

    async def fetch_standings(self, wanted: Sequence[tuple[str, PoolKey]]) -> list[Standing]:
        """Return the same of many at once, in the order asked for."""
        by_pool: dict[PoolKey, dict[str, None]] = {}
        for job_id, pool in wanted:
            by_pool.setdefault(pool, {})[job_id] = None
        found = iter(
            await self._store.fetch_standings({p: list(ids) for p, ids in by_pool.items()})
        )
        known = {(job_id, pool): next(found) for pool, ids in by_pool.items() for job_id in ids}
        return [known[one] for one in wanted]

    async def fetch_preview(self, job_id: str) -> str:
        """Return the beginning of what a single job generated."""
        return await self._previews.fetch(job_id)

    async def _fetch_previews(self, job_ids: Sequence[str]) -> Sequence[str]:
        return await self._store.fetch_text_starts(job_ids, PREVIEW_CHARS)
