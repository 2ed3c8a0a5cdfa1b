"""JobStore: every step of a job's life, each one atomic in Redis.

This is the interface of the store for asyncio code. It holds no state but its client, so any
number of processes use it side by side. Every write may be repeated safely after
``StoreUnavailable``: submit by its idempotency key, a claim by its token, the rest by fence.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import redis.asyncio

from llmjobs_core.celery_app import build_celery_app, build_message_template
from llmjobs_core.errors import CheckpointBehind, JobNotFound, PoolNotFound
from llmjobs_core.events import JobEvent
from llmjobs_core.jobs import (
    BatchLine,
    Claim,
    JobError,
    JobRecord,
    Lost,
    NewJob,
    Page,
    ProgressUpdate,
    ReapReport,
    Submitted,
    UnitResult,
    Usage,
)
from llmjobs_core.names import ChunkRef, PoolKey, UnitRef
from llmjobs_core.pools import Counters, PoolRegistration, PoolStats, Waiting, WorkerInfo
from llmjobs_core.states import JobClass, JobState
from llmjobs_core.store import decode, encode, keys
from llmjobs_core.store.connection import StoreOptions, build_async_client, translated_errors
from llmjobs_core.store.leases import LEASE_S
from llmjobs_core.store.scripts import Arg, ScriptName, run_script

_BATCH_APPEND = 500
"""Lines a round trip, so that no script holds the server for long (arbitrary)."""


class JobStore:
    """The truth about every job."""

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

    @classmethod
    def connect(cls, options: StoreOptions) -> Self:
        """Return a store for *options*; connects when first used."""
        template = build_message_template(build_celery_app(options.url))
        return cls(build_async_client(options), template=template, prefix=options.prefix)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    async def ping(self) -> None:
        """Return if Redis answers; raises StoreUnavailable."""
        with translated_errors():
            await self.client.ping()

    async def _run(self, name: ScriptName, *args: Arg) -> object:
        return await run_script(self.client, name, (self.prefix, self._template, *args))

    # -- submitting ---------------------------------------------------------------------------

    async def submit(self, job: NewJob) -> Submitted:
        """Store *job* and queue it, or return the job its idempotency key made before.

        A batch stays ``Pending`` until :meth:`seal`. Raises IdempotencyMismatch, PoolNotFound
        (unknown, or being deleted), StoreFull, StoreUnavailable.
        """
        reply = await self._run(ScriptName.SUBMIT, *encode.submit_args(job))
        return encode.parse_submitted(reply)

    async def append_lines(self, job_id: str, start: int, lines: Sequence[BatchLine]) -> int:
        """Write *lines* of a pending batch at line number *start*; returns lines so far.

        Writing the same lines again is harmless. Raises JobNotFound, StateConflict, StoreFull.
        """
        total = start
        for at in range(0, len(lines), _BATCH_APPEND):
            part = lines[at : at + _BATCH_APPEND]
            reply = await self._run(
                ScriptName.APPEND, *encode.append_args(job_id, start + at, part)
            )
            total = encode.parse_int(reply)
        return total

    async def seal(self, job_id: str) -> JobState:
        """End the input of a batch and queue it (or suspend it, if so submitted).

        Harmless when repeated. Raises JobNotFound; StateConflict if it has no lines or has ended.
        """
        return JobState(encode.parse_text(await self._run(ScriptName.SEAL, job_id)))

    # -- the owner's wishes -------------------------------------------------------------------

    async def cancel(self, job_id: str, reason: str = "") -> JobState:
        """End the job as Cancelled in whatever state it is; its workers abort their requests.

        Returns the state it has now: that of before if it had ended. Raises JobNotFound.
        """
        return JobState(encode.parse_text(await self._run(ScriptName.CANCEL, job_id, reason)))

    async def suspend(self, job_id: str) -> JobState:
        """Hold the job; running requests are aborted and keep their checkpoints.

        Returns the state it has now. Raises JobNotFound; StateConflict if it has ended.
        """
        return JobState(encode.parse_text(await self._run(ScriptName.SUSPEND, job_id)))

    async def resume(self, job_id: str) -> JobState:
        """Queue a suspended job again; harmless in other live states.

        Raises JobNotFound; StateConflict if it has ended.
        """
        return JobState(encode.parse_text(await self._run(ScriptName.RESUME, job_id)))

    async def reclassify(
        self, job_id: str, *, job_class: JobClass | None = None, ttl_s: int | None = None
    ) -> JobState:
        """Change the class (and so the place in the backlog) or the TTL (also after the end).

        Returns the state it has now. Raises JobNotFound.
        """
        args = encode.reclassify_args(job_id, job_class, ttl_s)
        return JobState(encode.parse_text(await self._run(ScriptName.RECLASSIFY, *args)))

    async def remove(self, job_id: str) -> bool:
        """Delete an ended job's record and results at once; False if it was gone.

        Raises StateConflict if it has not ended.
        """
        return bool(encode.parse_int(await self._run(ScriptName.REMOVE, job_id)))

    # -- a worker's steps ---------------------------------------------------------------------

    async def claim(
        self, chunk: ChunkRef, *, worker: str, token: str, limit: int
    ) -> tuple[Claim, ...]:
        """Take up to *limit* requests of the chunk for *worker*, each with a lease and a fence.

        Empty when there is nothing left to take by this message: it was a duplicate, or the job
        ended, is suspended, or runs elsewhere. *token* names this very call: repeated with the
        same token, it gives the same requests with the same fences.
        """
        reply = await self._run(
            ScriptName.CLAIM,
            chunk.job_id,
            chunk.number,
            worker,
            token,
            limit,
            int(self._lease_s * 1000),
        )
        return decode.parse_claims(reply)

    async def progress(self, updates: Sequence[ProgressUpdate]) -> tuple[Lost, ...]:
        """Append text to checkpoints and tell watchers; returns those whose fence is old."""
        if not updates:
            return ()
        reply = await self._run(ScriptName.PROGRESS, *encode.progress_args(updates))
        return encode.parse_lost(reply)

    async def complete(
        self,
        ref: UnitRef,
        fence: int,
        *,
        status_code: int,
        body: bytes,
        usage: Usage,
        last: ProgressUpdate | None = None,
    ) -> bool:
        """Store the result of a request that succeeded; ends the job with its last request.

        *last* is progress not yet written; it is applied in the same step. True if this call or
        an earlier one with the same fence did it; False if the fence is old: drop the work.
        Raises CheckpointBehind when *last* does not follow what the store has.
        """
        args = encode.complete_args(ref, fence, status_code, body, usage, last)
        done = encode.parse_int(await self._run(ScriptName.COMPLETE, *args))
        if done < 0:
            raise CheckpointBehind(str(ref))
        return done == 1

    async def fail(
        self,
        ref: UnitRef,
        fence: int,
        error: JobError,
        *,
        status_code: int = 0,
        body: bytes = b"",
        retry_in_ms: int | None = None,
        usage: Usage | None = None,
    ) -> bool:
        """Record a failed attempt: retry after *retry_in_ms*, or for ever if it is None.

        The retry is granted while the job's backoff limit allows; else the request fails with
        *body* (an OpenAI error object) as its result. Returns as :meth:`complete`.
        """
        args = encode.fail_args(ref, fence, error, status_code, body, retry_in_ms, usage)
        return bool(encode.parse_int(await self._run(ScriptName.FAIL, *args)))

    async def release(self, held: Sequence[tuple[UnitRef, int]], *, reason: str) -> None:
        """Hand requests back unfinished, at the front and with their checkpoints (a drain).

        Counts neither as a failed attempt nor as a lost lease.
        """
        if held:
            await self._run(ScriptName.RELEASE, *encode.release_args(held, reason))

    async def dispatch(self, pool: PoolKey) -> int:
        """Fill the pool's window from its backlog; returns messages sent. Anyone may call it."""
        return encode.parse_int(await self._run(ScriptName.DISPATCH, str(pool)))

    async def reap(self, *, limit: int = 200) -> ReapReport:
        """Make one recovery pass; cheap when another process has just made one."""
        return encode.parse_reap(
            await run_script(
                self.client, ScriptName.REAP, encode.reap_args(self.prefix, self._template, limit)
            )
        )

    # -- pools --------------------------------------------------------------------------------

    async def put_pool(self, registration: PoolRegistration) -> None:
        """Publish a pool, or change it; with ``accepting=False`` it is fed no more."""
        await self._run(ScriptName.PUT_POOL, *encode.put_pool_args(registration))

    async def drop_pool(self, key: PoolKey) -> None:
        """Forget a pool's registration; jobs that wait for it stay, until it comes back."""
        await self._run(ScriptName.PUT_POOL, *encode.drop_pool_args(key))

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

    # -- reading ------------------------------------------------------------------------------

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
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return jobs, newest first; *namespace* None means all. Raises InvalidCursor.

        A page may hold fewer than *limit* jobs while ``next_cursor`` is set: jobs removed
        between index and record are left out.
        """
        index = keys.index(self.prefix, namespace, state, label)
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
            ),
            decode.build_cursor(ids[limit - 1]) if more else None,
        )

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
