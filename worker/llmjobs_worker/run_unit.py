"""One claimed request from its lease to its end: stream it from the engine, settle it in the store.

The engine part runs in a task of its own, so that stopping the request (cancel, lost lease, drain)
closes its connection at once while what was generated is still written down.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import structlog

from llmjobs_core.errors import CheckpointBehind
from llmjobs_core.jobs import Claim, JobError, Usage
from llmjobs_core.states import JobReason
from llmjobs_core.store import JobStore
from llmjobs_worker.assemble import Answer
from llmjobs_worker.checkpoint import Checkpoint
from llmjobs_worker.chunks import EngineUsage
from llmjobs_worker.engine_client import EngineClient
from llmjobs_worker.held import AbortReason, HeldUnit, HeldUnits
from llmjobs_worker.metrics import WorkerMetrics
from llmjobs_worker.outlet import NOTHING, Piece
from llmjobs_worker.persist import persist
from llmjobs_worker.publisher import Publisher
from llmjobs_worker.relay import Relay
from llmjobs_worker.resume import EngineTraits, Mode, RequestPlan, plan_request
from llmjobs_worker.retry import (
    EngineError,
    Failure,
    RetryPolicy,
    build_error_body,
    build_network_error,
)
from llmjobs_worker.stay import Stay

_HANDED_BACK = {
    AbortReason.DRAINED: JobReason.DRAINED,
    AbortReason.CROWDED: JobReason.CROWDED,
    AbortReason.ENGINE_UNHEALTHY: JobReason.ENGINE_UNHEALTHY,
}
"""Why requests go back to the queue that were stopped here through no doing of theirs."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """The engine's whole answer."""

    body: bytes
    usage: Usage
    rest: Piece = NOTHING
    """Progress that goes to the store together with the answer."""
    status: int = 200


class _UsageOnly(msgspec.Struct):
    usage: EngineUsage | None = None


@dataclass(frozen=True, slots=True)
class UnitRunner:
    """Runs requests; one a process, used by all of them."""

    store: JobStore
    engine: EngineClient
    fetch_traits: Callable[[], EngineTraits]
    """What is known of the engine now."""
    confirm_engine: Callable[[], Awaitable[bool]]
    """Asks whether the engine is alive, after a request that it may have died under."""
    relay: Relay
    publisher: Publisher
    held: HeldUnits
    policy: RetryPolicy
    metrics: WorkerMetrics
    dice: random.Random

    async def run(self, claim: Claim, leased_s: float, stay: Stay) -> None:
        """Run *claim*, whose lease counts from *leased_s* (monotonic), to its end here.

        Its *stay* ends as soon as the engine has given its whole answer: what is left to do is the
        store's alone. After a failure or an abort it is the caller's to end, so that nobody gets
        the slot while it is not known yet whether the engine is dying.
        """
        unit = HeldUnit(claim.ref, claim.fence, leased_s)
        checkpoint = Checkpoint.of_claim(claim)
        self.held.add(unit)
        try:
            outcome = await self._generate_abortable(unit, claim, checkpoint, stay)
            self._count(stay, outcome)
            if isinstance(outcome, Finished):
                stay.leave_answered()
            await self._settle(unit, claim, checkpoint, stay, outcome)
        finally:
            await self.publisher.detach(checkpoint)
            self.held.remove(unit)

    async def _generate_abortable(
        self, unit: HeldUnit, claim: Claim, checkpoint: Checkpoint, stay: Stay
    ) -> Finished | Failure | AbortReason:
        task = asyncio.create_task(self._generate_in_slot(claim, checkpoint, stay))
        unit.set_abort(task.cancel)
        try:
            return await task
        except EngineError as error:
            return error.failure
        except asyncio.CancelledError:
            if unit.abort_reason is None:
                raise  # the process ends
            return unit.abort_reason

    # -- the engine's part --------------------------------------------------------------------

    async def _generate_in_slot(
        self, claim: Claim, checkpoint: Checkpoint, stay: Stay
    ) -> Finished | Failure | AbortReason:
        if not await stay.enter():
            return AbortReason.CROWDED
        return await self._generate(claim, checkpoint)

    async def _generate(self, claim: Claim, checkpoint: Checkpoint) -> Finished | Failure:
        try:
            plan = plan_request(claim, self.fetch_traits())
        except (msgspec.DecodeError, UnicodeDecodeError):
            error = JobError("invalid_body", "the request body is not a JSON object")
            return Failure(
                error, retryable=False, body=build_error_body(error, "invalid_request_error")
            )
        self.metrics.continuations.labels(plan.mode).inc()
        if plan.mode is Mode.RESTART:
            checkpoint.restart(plan.before.regenerated)
            self.publisher.notify(checkpoint)
        answer = Answer(
            claim.endpoint,
            claim.model,
            plan.before,
            exact=plan.exact,
            stop=plan.stop,
            tells_ids=plan.tells_ids,
        )
        if plan.mode is Mode.FINISHED:
            answer.finish("length")
            return Finished(answer.build_response(), answer.build_usage())
        if not plan.stream:
            return await self._fetch_whole(plan)
        asked_s = time.monotonic()
        async with self.engine.open_stream(plan.path, plan.body) as stream:
            await self.relay.run(stream, answer, checkpoint, asked_s)
        return Finished(answer.build_response(), answer.build_usage(), answer.take_rest())

    async def _fetch_whole(self, plan: RequestPlan) -> Finished:
        body = await self.engine.fetch_whole(plan.path, plan.body)
        try:
            usage = msgspec.json.decode(body, type=_UsageOnly).usage or EngineUsage()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = "the engine's answer is no JSON object"
            raise build_network_error("engine_protocol_error", message) from error
        return Finished(body, Usage(usage.prompt_tokens, usage.completion_tokens or 0))

    # -- the store's part ---------------------------------------------------------------------

    async def _settle(
        self,
        unit: HeldUnit,
        claim: Claim,
        checkpoint: Checkpoint,
        stay: Stay,
        outcome: Finished | Failure | AbortReason,
    ) -> None:
        await self.publisher.detach(checkpoint)
        log = _log.bind(unit=str(claim.ref), attempt=claim.attempt)
        if isinstance(outcome, AbortReason):
            log.info("request_aborted", reason=outcome)
            if outcome is AbortReason.ENGINE_UNHEALTHY and stay.is_at_engine:
                await self._lose(unit, checkpoint)
            elif (reason := _HANDED_BACK.get(outcome)) is not None:
                await self._hand_back(unit, checkpoint, reason)
            return
        if isinstance(outcome, Failure) and outcome.may_be_outage:
            is_alive = await self.confirm_engine()
            log.warning("request_unanswered", code=outcome.error.code, engine_alive=is_alive)
            if not is_alive:
                # Not the request's failure, or at least not for sure: no try of it is spent.
                if outcome.was_taken:
                    await self._lose(unit, checkpoint)
                else:
                    await self._hand_back(unit, checkpoint, JobReason.ENGINE_UNHEALTHY)
                return
        unit.is_ending = True
        if isinstance(outcome, Finished):
            is_ours = await self._complete(unit, checkpoint, outcome)
        else:
            is_ours = await self._fail(unit, claim, checkpoint, outcome)
            log.warning(
                "request_failed",
                code=outcome.error.code,
                status=outcome.status,
                retryable=outcome.retryable,
            )
        if not is_ours:
            self.metrics.refused.inc()
            log.warning("result_refused_by_fence")

    async def _complete(self, unit: HeldUnit, checkpoint: Checkpoint, done: Finished) -> bool:
        if checkpoint.is_unconfirmed:
            await self._write(checkpoint)
        checkpoint.add(done.rest)

        async def complete() -> bool:
            try:
                return await self.store.complete(
                    unit.ref,
                    unit.fence,
                    status_code=done.status,
                    body=done.body,
                    usage=done.usage,
                    last=checkpoint.build_update(),
                )
            except CheckpointBehind:
                checkpoint.rewind()
                raise

        return await persist(complete, step="complete")

    async def _fail(
        self, unit: HeldUnit, claim: Claim, checkpoint: Checkpoint, failure: Failure
    ) -> bool:
        await self._write(checkpoint)
        wait_ms = None
        if failure.retryable:
            wait_ms = self.policy.plan_wait_ms(claim.failures, failure.retry_after_s, self.dice)
        return await persist(
            lambda: self.store.fail(
                unit.ref,
                unit.fence,
                failure.error,
                status_code=failure.status,
                body=failure.body,
                retry_in_ms=wait_ms,
            ),
            step="fail",
        )

    async def _hand_back(self, unit: HeldUnit, checkpoint: Checkpoint, reason: JobReason) -> None:
        await self._write(checkpoint)
        await persist(
            lambda: self.store.release([(unit.ref, unit.fence)], reason=reason), step="release"
        )

    async def _lose(self, unit: HeldUnit, checkpoint: Checkpoint) -> None:
        await self._write(checkpoint)
        await persist(lambda: self.store.lose(unit.ref, unit.fence), step="lose")

    async def _write(self, checkpoint: Checkpoint) -> None:
        """Write all progress that the store does not have yet."""
        while (update := checkpoint.build_update()) is not None:
            lost = await persist(lambda: self.store.progress([update]), step="progress")
            if any(not item.behind for item in lost):
                return
            if lost:
                checkpoint.rewind()
            else:
                checkpoint.confirm(update)

    def _count(self, stay: Stay, outcome: Finished | Failure | AbortReason) -> None:
        if isinstance(outcome, AbortReason):
            self.metrics.aborted.labels(outcome).inc()
            kind = "aborted"
        elif isinstance(outcome, Finished):
            kind = "succeeded"
        else:
            kind = "retryable" if outcome.retryable else "failed"
        if stay.is_at_engine:
            self.metrics.requests.labels(kind).inc()
