"""No sequence of calls, duplicates, late fences or expiries loses a job, doubles it or revives it.

Hypothesis makes up the sequences; after each step the whole store is audited. Time is moved by
moving what is due, so nothing is slept for.
"""

import asyncio
import itertools
import json
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from llmjobs_core.celery_app import build_celery_app, build_message_template
from llmjobs_core.errors import PoolNotFound, StateConflict
from llmjobs_core.jobs import BatchLine, Claim, JobError, JobKind, NewJob, ProgressUpdate, Usage
from llmjobs_core.names import ChunkRef, PoolKey, build_job_id
from llmjobs_core.pools import PoolRegistration
from llmjobs_core.states import JobClass
from llmjobs_core.store import JobStore, LeaseStore, StoreOptions, build_async_client
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.audit import PREFIX, TERMINAL, Audit

POOL = PoolKey("team-a", "small")
BODY = b'{"model":"m"}'
USAGE = Usage(1, 1)
MOST_JOBS = 6

classes = st.sampled_from(JobClass)
picks = st.integers(0, 1_000_000)


class StoreMachine(RuleBasedStateMachine):
    """Plays submitters, workers and the network, badly."""

    url = ""
    template = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.redis: Any = redis.Redis.from_url(self.url)
        self.redis.flushdb()
        self.store = JobStore(build_async_client(StoreOptions(self.url)), template=self.template)
        self.leases = LeaseStore(self.redis, prefix=PREFIX, template=self.template)
        self.numbers = itertools.count()
        self.is_open = True
        self.jobs: list[NewJob] = []
        self.chunks: list[ChunkRef] = []
        self.calls: list[tuple[ChunkRef, str]] = []
        self.claims: list[Claim] = []
        """Every claim ever given; most of them are old."""
        self.completed: dict[tuple[str, int], bool] = {}
        self.ended: dict[str, tuple[str, dict[str, str]]] = {}

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def pick(self, items: list[Any], number: int) -> Any:
        """Return one of the last few, which are those that something still happens to."""
        return items[-1 - number % min(len(items), 6)]

    @initialize(limit=st.integers(0, 2), count=st.integers(1, 4))
    def begin_with_work(self, limit: int, count: int) -> None:
        """Without this, most sequences would be over before anything runs."""
        self.open_pool()
        self.submit(JobClass.STANDARD, suspend=False, limit=limit, cost=3)
        self.submit_batch(count, suspend=False, limit=limit)
        self.deliver(1)
        self.deliver(2)

    def open_pool(self) -> None:
        self.is_open = True
        self.run(self.store.put_pool(PoolRegistration(key=POOL, models=("m",))))
        self.beat()

    def beat(self) -> None:
        self.leases.renew("w", POOL, 3, [(c.ref, c.fence) for c in self.claims[-4:]])

    # -- owners ---------------------------------------------------------------------------------

    @precondition(lambda self: len(self.jobs) < MOST_JOBS)
    @rule(job_class=classes, suspend=st.booleans(), limit=st.integers(0, 2), cost=st.integers(1, 9))
    def submit(self, job_class: JobClass, suspend: bool, limit: int, cost: int) -> None:
        number = next(self.numbers)
        job = NewJob(
            id=build_job_id(1_700_000_000_000 + number), pool=POOL, model="m", body=BODY,
            job_class=job_class, suspend=suspend, backoff_limit=limit, cost=cost,
            idempotency_key=f"key-{number}", fingerprint="f",
        )  # fmt: skip
        if self.is_open:
            assert self.run(self.store.submit(job)).created
            self.jobs.append(job)
        else:
            with pytest.raises(PoolNotFound):
                self.run(self.store.submit(job))

    @precondition(lambda self: self.jobs)
    @rule(number=picks)
    def submit_again(self, number: int) -> None:
        job = self.pick(self.jobs, number)
        again = self.run(self.store.submit(job))
        assert again.created is False
        assert again.job_id == job.id

    @precondition(lambda self: self.is_open and len(self.jobs) < MOST_JOBS)
    @rule(count=st.integers(1, 7), suspend=st.booleans(), limit=st.integers(0, 1))
    def submit_batch(self, count: int, suspend: bool, limit: int) -> None:
        number = next(self.numbers)
        job = NewJob(
            id=build_job_id(1_700_000_000_000 + number), pool=POOL, model="m",
            kind=JobKind.BATCH, job_class=JobClass.BATCH, suspend=suspend, backoff_limit=limit,
            idempotency_key=f"key-{number}", fingerprint="f",
        )  # fmt: skip
        self.run(self.store.submit(job))
        lines = [BatchLine(f"c{i}", "/v1/completions", BODY, 2) for i in range(count)]
        self.run(self.store.append_lines(job.id, 0, lines))
        self.run(self.store.append_lines(job.id, 0, lines[:1]))
        self.run(self.store.seal(job.id))
        self.run(self.store.seal(job.id))
        self.jobs.append(job)

    @precondition(lambda self: self.jobs)
    @rule(number=picks, what=st.sampled_from(["cancel", "suspend", "resume"]))
    def change(self, number: int, what: str) -> None:
        job = self.pick(self.jobs, number)
        try:
            self.run(getattr(self.store, what)(job.id))
        except StateConflict:
            assert job.id in self.ended or self.state(job.id) in TERMINAL

    @precondition(lambda self: self.jobs)
    @rule(number=picks, job_class=classes)
    def reclassify(self, number: int, job_class: JobClass) -> None:
        self.run(self.store.reclassify(self.pick(self.jobs, number).id, job_class=job_class))

    # -- the network and the workers ------------------------------------------------------------

    def take_message(self) -> ChunkRef | None:
        found = self.redis.rpop(POOL.queue)
        return None if found is None else ChunkRef.parse(json.loads(found)["headers"]["id"])

    def claim(self, chunk: ChunkRef, limit: int) -> None:
        token = f"token-{next(self.numbers)}"
        given = self.run(self.store.claim(chunk, worker="w", token=token, limit=limit))
        assert len(given) <= limit
        self.calls.append((chunk, token))
        self.claims.extend(given)

    @rule(limit=st.integers(1, 4))
    def deliver(self, limit: int) -> None:
        chunk = self.take_message()
        if chunk is not None:
            self.chunks.append(chunk)
            self.claim(chunk, limit)

    @rule()
    def lose_a_message(self) -> None:
        self.take_message()

    @precondition(lambda self: self.chunks)
    @rule(number=picks, limit=st.integers(1, 4))
    def deliver_twice(self, number: int, limit: int) -> None:
        self.claim(self.pick(self.chunks, number), limit)

    @precondition(lambda self: self.calls)
    @rule(number=picks)
    def repeat_a_claim_call(self, number: int) -> None:
        chunk, token = self.pick(self.calls, number)
        known = {(c.ref, c.fence) for c in self.claims}
        again = self.run(self.store.claim(chunk, worker="w", token=token, limit=4))
        assert {(c.ref, c.fence) for c in again} <= known, "a repeated call gave new work"

    def holds(self, claim: Claim) -> bool:
        key = f"job:{claim.ref}" if claim.ref.line is None else f"unit:{claim.ref}"
        running, fence = self.redis.hmget(PREFIX + key, "urun", "ufence")
        return bool(running == b"1" and int(fence) == claim.fence)

    @precondition(lambda self: self.claims)
    @rule(number=picks)
    def progress(self, number: int) -> None:
        claim = self.pick(self.claims, number)
        held = self.holds(claim)
        update = ProgressUpdate(ref=claim.ref, fence=claim.fence, text="x ", tokens=1)
        lost = self.run(self.store.progress([update]))
        assert [item.ref for item in lost] == ([] if held else [claim.ref])

    @precondition(lambda self: self.claims)
    @rule(number=picks)
    def complete(self, number: int) -> None:
        claim = self.pick(self.claims, number)
        key = (str(claim.ref), claim.fence)
        held = self.holds(claim)
        done = self.run(
            self.store.complete(claim.ref, claim.fence, status_code=200, body=b"{}", usage=USAGE)
        )
        assert done == (held or self.completed.get(key, False))
        self.completed[key] = done

    @precondition(lambda self: self.claims)
    @rule(number=picks, retry=st.booleans())
    def fail(self, number: int, retry: bool) -> None:
        claim = self.pick(self.claims, number)
        held = self.holds(claim)
        done = self.run(
            self.store.fail(
                claim.ref, claim.fence, JobError("http_500", "no"), status_code=500, body=b"{}",
                retry_in_ms=60_000 if retry else None,
            )
        )  # fmt: skip
        assert done or not held

    @precondition(lambda self: self.claims)
    @rule(number=picks)
    def lose_the_engine(self, number: int) -> None:
        claim = self.pick(self.claims, number)
        held = self.holds(claim)
        assert self.run(self.store.lose(claim.ref, claim.fence)) or not held

    @precondition(lambda self: self.claims)
    @rule(number=picks)
    def release(self, number: int) -> None:
        claim = self.pick(self.claims, number)
        self.run(self.store.release([(claim.ref, claim.fence)], reason="Draining"))

    @rule(alive=st.booleans())
    def worker_comes_or_goes(self, alive: bool) -> None:
        self.leases.renew("w", POOL, 3 if alive else 0, [])

    @rule(accepting=st.booleans())
    def pool_opens_or_closes(self, accepting: bool) -> None:
        self.is_open = accepting
        self.run(
            self.store.put_pool(PoolRegistration(key=POOL, models=("m",), accepting=accepting))
        )

    # -- time -----------------------------------------------------------------------------------

    def make_due(self, name: str) -> None:
        for member in self.redis.zrange(PREFIX + name, 0, -1):
            self.redis.zadd(PREFIX + name, {member: 1})

    def reap(self) -> None:
        self.redis.delete(f"{PREFIX}reaped", f"{PREFIX}hold")
        assert not self.run(self.store.reap()).skipped

    @rule(name=st.sampled_from(["leases", "sent", "workers"]))
    def time_passes(self, name: str) -> None:
        self.make_due(name)
        self.reap()

    @rule()
    def retries_come_due(self) -> None:
        for key in self.redis.scan_iter(f"{PREFIX}redo:*"):
            self.make_due(key.decode()[len(PREFIX) :])
        self.make_due("later")
        self.reap()

    # -- what must always hold ------------------------------------------------------------------

    def state(self, job_id: str) -> str:
        found = self.redis.hget(f"{PREFIX}job:{job_id}", "st")
        return str(found.decode())

    @invariant()
    def everything_is_in_its_place(self) -> None:
        audit = Audit(self.redis, [str(POOL)])
        assert set(audit.jobs) == {job.id for job in self.jobs}
        audit.check()
        for job_id, job in audit.jobs.items():
            if job["st"] in TERMINAL:
                results = {
                    k.decode(): v.decode()
                    for k, v in self.redis.hgetall(f"{PREFIX}out:{job_id}").items()
                }
                kept = self.ended.setdefault(job_id, (job["st"], results))
                assert kept == (job["st"], results), f"{job_id} changed after its end"

    def teardown(self) -> None:
        """Let the world behave, and see every job come to its end."""
        try:
            self.open_pool()
            for job in self.jobs:
                if self.state(job.id) not in TERMINAL:
                    self.run(self.store.resume(job.id))
            for _ in range(200):
                if all(self.state(job.id) in TERMINAL for job in self.jobs):
                    break
                self.leases.renew("w", POOL, 3, [])
                for name in ("leases", "sent"):
                    self.make_due(name)
                self.retries_come_due()
                while (chunk := self.take_message()) is not None:
                    before = len(self.claims)
                    self.claim(chunk, 4)
                    for claim in self.claims[before:]:
                        self.run(
                            self.store.complete(
                                claim.ref, claim.fence, status_code=200, body=b"{}", usage=USAGE
                            )
                        )
            self.everything_is_in_its_place()
            stuck = [job.id for job in self.jobs if self.state(job.id) not in TERMINAL]
            assert not stuck, f"never ended: {stuck}"
        finally:
            self.run(self.store.close())
            self.redis.close()
            self.loop.close()


@pytest.mark.timeout(300)
def test_no_sequence_of_calls_loses_doubles_or_revives_a_job(valkey_process: Valkey) -> None:
    StoreMachine.url = valkey_process.url
    StoreMachine.template = build_message_template(build_celery_app(valkey_process.url))
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
