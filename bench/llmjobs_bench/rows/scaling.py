"""Deciding on the replicas of a thousand pools, by the operator's own functions."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed
from llmjobs_bench.rig import Rig
from llmjobs_bench.row import Row, Stage
from llmjobs_core.jobs import NewJob
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.pools import PoolRegistration, PoolStats
from llmjobs_core.resources.pool import LLMWorkerPoolSpec
from llmjobs_operator.scaling import (
    Need,
    ScalingReason,
    decide_replicas,
    longest_window_s,
    remember,
)

NAMESPACE = "scaling"
_POLL_MS = 500
"""How far apart the operator's readings are."""
_HISTORY_S = 400
"""Longer than the window below, so that each pool's is full of readings."""
_CONCURRENCY = 8
_JOBS = (0, 4, 40)
"""Waiting jobs of one pool after another: none, as many as its replica takes, too many."""


def build_spec() -> LLMWorkerPoolSpec:
    """Return a pool with long windows both ways, which cost the most to look through."""
    scaling = {
        "maxReplicas": 16,
        "idleSecondsToZero": 600,
        "scaleUpStabilizationSeconds": 60,
        "scaleDownStabilizationSeconds": 300,
    }
    return LLMWorkerPoolSpec.model_validate(
        {
            "models": ["m"],
            "engine": {"external": {"baseURL": "http://engine.invalid"}},
            "concurrency": _CONCURRENCY,
            "scaling": scaling,
        }
    )


@dataclass(slots=True)
class Pool:
    """One pool as the operator has it before a decision."""

    key: PoolKey
    spec: LLMWorkerPoolSpec
    current: int
    jobs: int
    history: deque[Need] = field(default_factory=deque)


def build_pools(count: int, now_ms: int) -> list[Pool]:
    """Return pools of which every third is idle, steady or short of replicas.

    Half of them have a need that changes at each reading: the longest history there can be.
    """
    pools = []
    for number in range(count):
        pool = Pool(
            PoolKey(NAMESPACE, f"pool-{number}"),
            build_spec(),
            current=(4, 1, 2)[number % 3],
            jobs=_JOBS[number % 3],
        )
        window_s = longest_window_s(pool.spec.scaling)
        for at_ms in range(now_ms - _HISTORY_S * 1000, now_ms, _POLL_MS):
            moves = number % 2 and at_ms // _POLL_MS % 2
            remember(pool.history, Need(at_ms, 3 if moves else 2), window_s)
        pools.append(pool)
    return pools


async def publish(rig: Rig, pools: Sequence[Pool]) -> None:
    """Have the pools in the store, with the jobs that wait for each."""
    body = b'{"messages":[]}'

    async def publish_one(pool: Pool) -> None:
        registration = PoolRegistration(key=pool.key, models=("m",), concurrency=_CONCURRENCY)
        await rig.store.put_pool(registration)
        for _ in range(pool.jobs):
            job_id = build_job_id(int(time.time() * 1000))
            await rig.store.submit(NewJob(id=job_id, pool=pool.key, model="m", body=body))

    for at in range(0, len(pools), 32):
        await asyncio.gather(*(publish_one(pool) for pool in pools[at : at + 32]))


def decide_all(pools: Sequence[Pool], readings: Sequence[PoolStats | None]) -> list[ScalingReason]:
    """Decide on every pool, and remember what each needed, as the operator does."""
    now_ms = int(time.time() * 1000)
    reasons = []
    for pool, stats in zip(pools, readings, strict=True):
        decision = decide_replicas(
            pool.spec,
            stats,
            current=pool.current,
            ready=pool.current,
            history=pool.history,
            now_ms=now_ms,
        )
        if decision.need is not None:
            remember(pool.history, decision.need, longest_window_s(pool.spec.scaling))
        reasons.append(decision.reason)
    return reasons


def check_reasons(reasons: Sequence[ScalingReason]) -> None:
    """Raise SelfCheckFailed unless each pool was decided on by what it has."""
    expected = (
        {ScalingReason.WAITING_FOR_IDLE, ScalingReason.IDLE, ScalingReason.STEADY},
        {ScalingReason.STEADY},
        {ScalingReason.STABILIZING, ScalingReason.BACKLOG},
    )
    for number, reason in enumerate(reasons):
        if reason not in expected[number % 3]:
            raise SelfCheckFailed(f"pool {number} was decided on by {reason}")


async def measure(stage: Stage) -> Sequence[Figure]:
    """Read all pools from Valkey, and decide on each."""
    count = stage.size(1000, 50)
    async with Rig(stage.folder) as rig:
        pools = build_pools(count, int(time.time() * 1000))
        await publish(rig, pools)
        wanted = [pool.key for pool in pools]

        async def decide() -> float:
            readings = await rig.store.fetch_pools(wanted)
            began_s = time.process_time()
            reasons = decide_all(pools, readings)
            took_s = time.process_time() - began_s
            check_reasons(reasons)
            return took_s * 1000

        async def read() -> float:
            began_s = time.process_time()
            readings = await rig.store.fetch_pools(wanted)
            took_s = time.process_time() - began_s
            if [stats and stats.queued for stats in readings] != [pool.jobs for pool in pools]:
                raise SelfCheckFailed("the readings are not of what waits")
            return took_s * 1000

        async def read_plain() -> float:
            """Read each pool's hash and nothing else, in one pipeline: the floor of any reading."""
            began_s = time.process_time()
            pipe = rig.store.client.pipeline(transaction=False)
            for key in wanted:
                pipe.hgetall(f"{rig.store.prefix}pool:{key}")
            await pipe.execute()
            return (time.process_time() - began_s) * 1000

        await read()
        taken = await stage.alternate({"decide": decide, "read": read, "plain": read_plain})
    return [
        Figure("CPU of the decisions", taken["decide"], "ms", Bound(at_most=100)),
        Figure("CPU of reading what they need", taken["read"], "ms"),
        Figure("CPU of reading the same hashes plainly", taken["plain"], "ms"),
    ]


SCALING = Row(
    "scaling",
    "Scaling decisions for 1,000 pools, the longest windows full of readings: the operator's CPU; "
    "and beside it its CPU for the reading of all pools from Valkey",
    measure,
)
