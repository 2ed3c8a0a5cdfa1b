"""JobStore: every step of a job's life, each one atomic in Redis.

This is the interface of the store for asyncio code. It holds no state but its client, so any
number of processes use it side by side. Every write may be repeated safely after
``StoreUnavailable``: submit by its idempotency key, a claim by its token, the rest by fence.
"""

from collections.abc import Sequence

from llmjobs_core.errors import CheckpointBehind
from llmjobs_core.jobs import (
    BatchLine,
    Claim,
    JobError,
    Lost,
    NewJob,
    ProgressUpdate,
    ReapReport,
    Submitted,
    Usage,
)
from llmjobs_core.names import ChunkRef, PoolKey, UnitRef
from llmjobs_core.pools import PoolRegistration
from llmjobs_core.states import JobClass, JobState
from llmjobs_core.store import decode, encode
from llmjobs_core.store.bulk_reader import BulkReader
from llmjobs_core.store.connection import translated_errors
from llmjobs_core.store.scripts import ScriptName, run_script

_BATCH_APPEND = 500
"""Lines a round trip, so that no script holds the server for long (arbitrary)."""


class JobStore(BulkReader):
    """The truth about every job."""

    # -- submitting ---------------------------------------------------------------------------

    async def submit(self, job: NewJob) -> Submitted:
        """Store *job* and queue it, or return the job its idempotency key made before.

        A batch stays ``Pending`` until :meth:`seal`. Raises IdempotencyMismatch, PoolNotFound
        (unknown, or being deleted), StoreFull, StoreUnavailable.
        """
        args = (self.prefix, self._template, *encode.submit_args(job))
        return encode.parse_submitted(await self._flights.run(ScriptName.SUBMIT, args))

    async def check_writable(self) -> None:
        """Return if new jobs can be written now; raises StoreFull, StoreUnavailable."""
        with translated_errors():
            await self.client.set(f"{self.prefix}writable", 1, px=1)

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

    async def hand_on(self, chunk: ChunkRef) -> bool:
        """Send the message of *chunk* again at once: this worker takes nothing now.

        False when nothing is left of it. Repeating it doubles the message, which does no harm.
        """
        args = (chunk.job_id, chunk.number)
        return bool(encode.parse_int(await self._run(ScriptName.HAND_ON, *args)))

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

    async def lose(self, ref: UnitRef, fence: int) -> bool:
        """Record that the engine died under a request, which goes on at the front, elsewhere.

        A request that lost several workers or engines in a row without a new token, or very many
        in all, fails as poison with the last losses as evidence. Returns as :meth:`complete`.
        """
        return bool(encode.parse_int(await self._run(ScriptName.LOSE, str(ref), fence)))

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
