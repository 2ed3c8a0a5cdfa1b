"""A thousand watchers on one gateway process: how late a token is, and what a watcher weighs.

Twice: each with a job of its own, where nothing that one is told serves for another; and ten on
each of a hundred jobs. Of the first the gateway is but a part: ten thousand separate reads, writes
and events a second of engine, worker and Valkey share the machine's two cores with it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed, percentile
from llmjobs_bench.rig import Rig
from llmjobs_bench.row import Row, Stage
from llmjobs_bench.rows.watched_jobs import watch_jobs

WATCHERS = 1000
SHARING = 10
"""Watchers of one job, where they share."""
APART_S = 0.02
"""Between the beginnings of two jobs, where they are few."""
PACE = 10.0
"""Tokens a second of each job."""


@dataclass(frozen=True, slots=True)
class Watching:
    """One run."""

    p50_ms: float
    p99_ms: float
    each_kib: float
    gateway_share: float
    """Of one core, while tokens came."""


async def measure(stage: Stage) -> Sequence[Figure]:
    """Give every watcher a job of its own."""
    return await measure_watching(stage, jobs=stage.size(WATCHERS, 50), each=1, apart_s=0.0)


async def measure_shared(stage: Stage) -> Sequence[Figure]:
    """Have each job watched by several."""
    jobs = stage.size(WATCHERS // SHARING, 10)
    return await measure_watching(stage, jobs=jobs, each=SHARING, apart_s=APART_S)


async def measure_watching(
    stage: Stage, *, jobs: int, each: int, apart_s: float
) -> Sequence[Figure]:
    """Have *each* watchers follow each of *jobs* jobs from before its first token to its end."""
    tokens, watchers = stage.size(80, 10), jobs * each
    async with Rig(stage.folder) as rig:
        await rig.publish_pool(concurrency=jobs)
        engine = await rig.add_engine()
        await rig.add_worker(engine, concurrency=jobs)
        gateway = await rig.add_gateway()

        before_mib = gateway.fetch_memory_mib()  # what earlier watchers left is memory too

        async def watch() -> Watching:
            before_s = gateway.fetch_cpu_s()
            async with watch_jobs(
                rig,
                gateway,
                jobs=jobs,
                watchers=each,
                tokens=tokens,
                rate=PACE,
                is_stamped=True,
            ) as watching:
                running = asyncio.create_task(watching.run(apart_s=apart_s))
                await asyncio.sleep(tokens / PACE * 0.7)
                during_mib = gateway.fetch_memory_mib()
                await running
                await watching.check()
            delays_us = [delay for one in watching.watched for delay in one.delays_us]
            if len(delays_us) != watchers * (tokens - 1):
                raise SelfCheckFailed(f"{len(delays_us)} stamps came of {watchers * (tokens - 1)}")
            return Watching(
                percentile(delays_us, 50) / 1000,
                percentile(delays_us, 99) / 1000,
                (during_mib - before_mib) * 1024 / watchers,
                (gateway.fetch_cpu_s() - before_s) / (tokens / PACE),
            )

        taken = (await stage.alternate({"watch": watch}))["watch"]
    return [
        Figure("engine to client p99", [one.p99_ms for one in taken], "ms", Bound(at_most=150)),
        Figure("memory a watcher", [one.each_kib for one in taken], "KiB", Bound(at_most=64)),
        Figure("engine to client p50", [one.p50_ms for one in taken], "ms"),
        Figure("gateway", [one.gateway_share for one in taken], "of a core"),
    ]


ROW = Row(
    "watchers",
    f"{WATCHERS:,} SSE watchers on one gateway process, each of a job of its own at {PACE:.0f} "
    "tokens/s",
    measure,
)

SHARED = Row(
    "watchers-shared",
    f"{WATCHERS:,} SSE watchers on one gateway process, {SHARING} on each of "
    f"{WATCHERS // SHARING} jobs at {PACE:.0f} tokens/s",
    measure_shared,
)
