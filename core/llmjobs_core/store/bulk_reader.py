"""What the store tells of many jobs or pools at once: for the operator, which looks after all.

A round trip or two, whatever is asked for. The same as what ``reader`` tells of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmjobs_core.errors import JobNotFound, PoolNotFound
from llmjobs_core.jobs import JobRecord
from llmjobs_core.names import PoolKey, UnitRef
from llmjobs_core.pools import PoolStats, Waiting
from llmjobs_core.store import decode, encode, keys
from llmjobs_core.store.connection import translated_errors
from llmjobs_core.store.reader import StoreReader
from llmjobs_core.store.scripts import ScriptCall, ScriptName, run_scripts

_UTF8_MOST = 4
"""Bytes of one character."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A job, its pool and its place there."""

    record: JobRecord | None
    """None where there is no such job."""
    stats: PoolStats | None
    """None where there is no such pool."""
    waiting: Waiting | None
    """None where there is no such job or pool; it says nothing of a job that is not queued."""


class BulkReader(StoreReader):
    """Reads about many at a time."""

    async def fetch_pools(self, pools: Sequence[PoolKey]) -> list[PoolStats | None]:
        """Return a reading of each pool in the order asked for, None where there is none."""
        replies = await run_scripts(self.client, [self._build_stats_call(pool) for pool in pools])
        return [_parse_stats(pool, reply) for pool, reply in zip(pools, replies, strict=True)]

    async def fetch_standings(self, wanted: Mapping[PoolKey, Sequence[str]]) -> list[Standing]:
        """Return the jobs *wanted* of each pool and where they stand, in the order asked for."""
        records = iter(await self.fetch_many([one for ids in wanted.values() for one in ids]))
        calls: list[ScriptCall] = []
        for pool, ids in wanted.items():
            calls.append(self._build_stats_call(pool))
            calls += [(ScriptName.POSITION, (self.prefix, self._template, one)) for one in ids]
        replies = iter(await run_scripts(self.client, calls))
        standings: list[Standing] = []
        for pool, ids in wanted.items():
            stats = _parse_stats(pool, next(replies))
            for _ in ids:
                waiting = _parse_waiting(next(replies))
                standings.append(Standing(next(records), stats, waiting if stats else None))
        return standings

    def _build_stats_call(self, pool: PoolKey) -> ScriptCall:
        return ScriptName.POOL_STATS, (self.prefix, self._template, str(pool))

    async def fetch_text_starts(self, job_ids: Sequence[str], chars: int) -> list[str]:
        """Return the first *chars* characters of what single jobs generated; empty for none."""
        if not job_ids:
            return []
        with translated_errors():
            pipe = self.client.pipeline(transaction=False)
            for job_id in job_ids:
                pipe.getrange(keys.text(self.prefix, str(UnitRef(job_id))), 0, chars * _UTF8_MOST)
            replies = await pipe.execute()
        # The last character may be cut in its middle.
        return [bytes(reply).decode("utf-8", "ignore")[:chars] for reply in replies]

    async def list_owners(
        self, namespace: str | None, *, limit: int, cursor: str | None = None
    ) -> tuple[list[tuple[str, str]], str | None]:
        """Return ids and owners of the jobs that have one, newest first, and the next cursor.

        *namespace* None means all, *limit* is how many jobs are looked at. Raises InvalidCursor.
        """
        with translated_errors():
            found = await self.client.zrange(
                keys.index(self.prefix, namespace, None, None),
                decode.parse_cursor(cursor), "-", desc=True, bylex=True, offset=0, num=limit,
            )  # fmt: skip
            ids = [encode.parse_text(member) for member in found]
            pipe = self.client.pipeline(transaction=False)
            for job_id in ids:
                pipe.hget(keys.job(self.prefix, job_id), "owner")
            replies = await pipe.execute() if ids else []
        owned = [
            (job_id, encode.parse_text(owner))
            for job_id, owner in zip(ids, replies, strict=True)
            if owner
        ]
        return owned, decode.build_cursor(ids[-1]) if len(ids) == limit else None


def _parse_stats(pool: PoolKey, reply: object) -> PoolStats | None:
    if isinstance(reply, PoolNotFound):
        return None
    return decode.parse_pool_stats(pool, _refuse_errors(reply))


def _parse_waiting(reply: object) -> Waiting | None:
    return None if isinstance(reply, JobNotFound) else decode.parse_waiting(_refuse_errors(reply))


def _refuse_errors(reply: object) -> object:
    if isinstance(reply, Exception):
        raise reply
    return reply
