"""What the store tells: jobs, their results and events, pools, workers, counters.

Reading changes nothing, so any of it may be repeated. The steps of a job's life are in
``jobstore``.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import redis.asyncio

from llmjobs_core.celery_app import build_celery_app, build_message_template
from llmjobs_core.errors import JobNotFound, PoolNotFound
from llmjobs_core.events import JobEvent
from llmjobs_core.jobs import BatchLine, JobRecord, Page, UnitResult
from llmjobs_core.names import PoolKey, UnitRef
from llmjobs_core.pools import Counters, PoolStats, Waiting, WorkerInfo
from llmjobs_core.states import JobState
from llmjobs_core.store import decode, encode, keys
from llmjobs_core.store.connection import StoreOptions, build_async_client, translated_errors
from llmjobs_core.store.flights import Flights
from llmjobs_core.store.leases import LEASE_S
from llmjobs_core.store.scripts import Arg, ScriptName, run_script


class StoreReader:
    """Reads the truth about every job."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        template: str,
        prefix: str = "llmjobs:",
        lease_s: float = LEASE_S,
    ) -> None:
        self.client = client
        self.prefix = prefix
        self._template = template
        self._lease_s = lease_s
        self._flights = Flights(client)

    @classmethod
    def connect(cls, options: StoreOptions) -> Self:
        """Return a store for *options*; connects when first used."""
        template = build_message_template(build_celery_app(options.url))
        return cls(build_async_client(options), template=template, prefix=options.prefix)

    async def close(self) -> None:
        """Close the connections."""
        await self._flights.close()
        await self.client.aclose()

    async def ping(self) -> None:
        """Return if Redis answers; raises StoreUnavailable."""
        with translated_errors():
            await self.client.ping()

    async def _run(self, name: ScriptName, *args: Arg) -> object:
        return await run_script(self.client, name, (self.prefix, self._template, *args))

    async def resolve_pool(self, namespace: str, model: str) -> PoolKey:
        """Return the pool that serves *model* in *namespace*; raises PoolNotFound."""
        with translated_errors():
            found = await self.client.hget(keys.models(self.prefix, namespace), model)
        if not found:
            raise PoolNotFound(f"no pool in namespace {namespace} serves model {model}")
        return PoolKey(namespace, encode.parse_text(found).split(",")[0])

    async def fetch_pool(self, key: PoolKey) -> PoolStats:
        """Return one consistent reading; raises PoolNotFound."""
        reply = await self._run(ScriptName.POOL_STATS, str(key))
        return decode.parse_pool_stats(key, reply)

    async def list_pools(self) -> tuple[PoolKey, ...]:
        """Return every registered pool."""
        with translated_errors():
            names = await self.client.smembers(keys.pools(self.prefix))
        return tuple(sorted(PoolKey.parse(encode.parse_text(name)) for name in names))

    async def list_models(self, namespace: str) -> Mapping[str, PoolKey]:
        """Return the served model names of *namespace* and the pool of each."""
        with translated_errors():
            found = await self.client.hgetall(keys.models(self.prefix, namespace))
        return {
            encode.parse_text(model): PoolKey(namespace, encode.parse_text(pools).split(",")[0])
            for model, pools in found.items()
        }

    async def list_workers(self) -> tuple[WorkerInfo, ...]:
        """Return the workers that are alive."""
        with translated_errors():
            pipe = self.client.pipeline(transaction=True)
            pipe.zrange(keys.workers(self.prefix), 0, -1, withscores=True)
            pipe.hgetall(keys.worker_slots(self.prefix))
            pipe.hgetall(keys.worker_running(self.prefix))
            replies = await pipe.execute()
        return decode.parse_workers(replies)

    async def fetch(self, job_id: str) -> JobRecord:
        """Return the job; raises JobNotFound."""
        records = await self.fetch_many([job_id])
        if records[0] is None:
            raise JobNotFound(job_id)
        return records[0]

    async def fetch_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the jobs in the order asked for, None where there is none."""
        with translated_errors():
            pipe = self.client.pipeline(transaction=False)
            for job_id in job_ids:
                pipe.hmget(keys.job(self.prefix, job_id), decode.RECORD_FIELDS)
            replies = await pipe.execute()
        return [
            decode.parse_record(job_id, reply)
            for job_id, reply in zip(job_ids, replies, strict=True)
        ]

    async def find_by_key(self, namespace: str, idempotency_key: str) -> str | None:
        """Return the id of the job that was submitted with this idempotency key."""
        with translated_errors():
            found = await self.client.hget(
                keys.idempotency(self.prefix, namespace, idempotency_key), "id"
            )
        return encode.parse_text(found) if found else None

    async def list_jobs(
        self,
        namespace: str | None,
        *,
        state: JobState | None = None,
        label: tuple[str, str] | None = None,
        reason: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return jobs, newest first; *namespace* None means all. Raises InvalidCursor.

        One index is read: the label's where one is given, else the state's, or that of the reason
        for which jobs ended. What it holds beyond the question is left out, and so are jobs
        removed meanwhile; so a page may hold fewer than *limit* jobs while ``next_cursor`` is set.
        """
        index = keys.index(self.prefix, namespace, state, label, reason)
        upper = decode.parse_cursor(cursor)
        with translated_errors():
            found = await self.client.zrange(
                index, upper, "-", desc=True, bylex=True, offset=0, num=limit + 1
            )
        ids = [encode.parse_text(member) for member in found]
        records = await self.fetch_many(ids[:limit]) if ids else []
        more = len(ids) > limit
        return Page(
            tuple(
                r
                for r in records
                if r is not None
                and (state is None or r.state is state)
                and (label is None or r.labels.get(label[0]) == label[1])
                and (reason is None or r.reason == reason)
            ),
            decode.build_cursor(ids[limit - 1]) if more else None,
        )

    async def count_jobs(
        self,
        namespace: str | None,
        *,
        state: JobState | None = None,
        label: tuple[str, str] | None = None,
        reason: str | None = None,
        cursor: str | None = None,
    ) -> int:
        """Return how many jobs :meth:`list_jobs` would look at after *cursor*; >= what it gives.

        Exact without a label for a state, or a reason for which jobs ended. Raises InvalidCursor.
        """
        index = keys.index(self.prefix, namespace, state, label, reason)
        with translated_errors():
            found = await self.client.zlexcount(index, "-", decode.parse_cursor(cursor))
        return int(found)

    def build_cursor(self, job_id: str) -> str:
        """Return the cursor of the page that begins after this job."""
        return decode.build_cursor(job_id)

    async def fetch_request(self, job_id: str) -> bytes:
        """Return a single job's request body; raises JobNotFound."""
        with translated_errors():
            body = await self.client.hget(keys.job(self.prefix, job_id), "body")
        if body is None:
            raise JobNotFound(job_id)
        return encode.as_bytes(body)

    async def fetch_lines(self, job_id: str, start: int, count: int) -> list[BatchLine | None]:
        """Return *count* lines of a batch from *start*; None past its end."""
        with translated_errors():
            found = await self.client.hmget(
                keys.lines(self.prefix, job_id), [str(i) for i in range(start, start + count)]
            )
        return [encode.parse_line(item) for item in found]

    async def fetch_results(
        self, job_id: str, start: int = 0, count: int = 1
    ) -> list[UnitResult | None]:
        """Return the results of *count* requests from line *start*; None where not ended yet."""
        with translated_errors():
            found = await self.client.hmget(
                keys.results(self.prefix, job_id), [str(i) for i in range(start, start + count)]
            )
        return [encode.parse_result(start + i, item) for i, item in enumerate(found)]

    async def fetch_text(self, job_id: str, line: int | None = None) -> str:
        """Return the text generated so far of a request; empty if none."""
        with translated_errors():
            text = await self.client.get(keys.text(self.prefix, str(UnitRef(job_id, line))))
        return encode.parse_text(text) if text else ""

    async def fetch_events(
        self, job_id: str, *, after: str = "", limit: int = 1000
    ) -> list[JobEvent]:
        """Return a job's events after the id *after* (all of them if empty), oldest first."""
        with translated_errors():
            entries = await self.client.xrange(
                keys.events(self.prefix, job_id),
                min=f"({after}" if after else "-",
                max="+",
                count=limit,
            )
        return [
            decode.parse_event(entry_id, fields) for entry_id, fields in entries or () if fields
        ]

    async def fetch_waiting(self, job_id: str) -> Waiting:
        """Return where a job stands in its backlog; raises JobNotFound."""
        return decode.parse_waiting(await self._run(ScriptName.POSITION, job_id))

    async def fetch_counters(self) -> Counters:
        """Return the counters behind the metrics."""
        with translated_errors():
            pipe = self.client.pipeline(transaction=True)
            for key in keys.all_counters(self.prefix):
                pipe.hgetall(key)
            replies = await pipe.execute()
        return decode.parse_counters(replies)
