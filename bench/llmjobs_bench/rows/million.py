"""A pool with a million queued jobs: what each step costs beside an empty backlog."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from statistics import median
from typing import Any

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed, divide
from llmjobs_bench.filler import CLASSES, COST, build_job
from llmjobs_bench.rig import MODEL, POOL, Rig
from llmjobs_bench.row import Row, Stage
from llmjobs_core.jobs import NewJob
from llmjobs_core.states import CLASS_WEIGHTS, JobClass, JobState
from llmjobs_testing.driver import Driver

JOBS = 1_000_000
STEPS = ("submit", "dispatch", "cancel", "position")
_MEASURED = (JobClass.STANDARD, JobClass.BATCH)
"""What comes and goes, in turns; an interactive job would pass a full window and not wait."""
_FILLERS = 2
_SLOTS = 32
"""Slots that join at a time: a dispatch fills a window of twice as many."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step took in one run; the median of its calls."""

    server_us: float
    """The server's own time; for a dispatch, of one message."""
    client_us: float
    """What the caller waited for the call."""


class Backlog:
    """One pool's backlog, on a Valkey of its own."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._driver = Driver(rig.valkey.url, POOL, (MODEL,))
        self._slots = 0
        self._taken: defaultdict[str, list[Cost]] = defaultdict(list)

    async def close(self) -> None:
        """Close its connections."""
        await self._driver.close()

    async def measure(self, calls: int, dispatches: int) -> Mapping[str, Cost]:
        """Measure every step so often; what is submitted is cancelled, or dispatched, again."""
        self._taken.clear()
        for number in range(calls):
            await self._come_and_go(build_job(_MEASURED[number % 2], POOL, MODEL))
        for _ in range(dispatches):
            await self._dispatch()
        return {
            step: Cost(
                median(cost.server_us for cost in costs), median(cost.client_us for cost in costs)
            )
            for step, costs in self._taken.items()
        }

    async def _come_and_go(self, job: NewJob) -> None:
        store = self.rig.store
        before = (await store.fetch_pool(POOL)).backlog_jobs
        await self._time("submit", store.submit(job))
        waiting = await self._time("position", store.fetch_waiting(job.id))
        among = (await store.fetch_pool(POOL)).backlog_jobs
        state = await self._time("cancel", store.cancel(job.id))
        after = (await store.fetch_pool(POOL)).backlog_jobs
        gone = await store.fetch_waiting(job.id)
        check(waiting.position is not None and waiting.position <= before, "a place is impossible")
        check(state is JobState.CANCELLED and gone.position is None, "a cancelled job still waits")
        check((among, after) == (before + 1, before), "the backlog is not as long as it must be")

    async def _dispatch(self) -> None:
        """Let workers join, and see the window filled."""
        store = self.rig.store
        window = 2 * _SLOTS
        missing = max(0, window - (await store.fetch_pool(POOL)).backlog_jobs)
        for _ in range(missing):
            await store.submit(build_job(JobClass.STANDARD, POOL, MODEL))
        before = await store.fetch_pool(POOL)
        self._slots += _SLOTS
        await self._time("dispatch", asyncio.to_thread(self._driver.beat, self._slots))
        after = await store.fetch_pool(POOL)
        sent = after.dispatched - before.dispatched
        # Interactive jobs may go past the window, by one slot count at most.
        in_window = 2 * self._slots <= after.dispatched <= 3 * self._slots
        check(in_window, f"{after.dispatched} messages were sent for {self._slots} slots")
        check(before.backlog_jobs - after.backlog_jobs == sent, "what was sent still waits")
        whole = self._taken["dispatch"].pop()
        self._taken["dispatch"].append(Cost(whole.server_us / sent, whole.client_us))

    async def _time(self, step: str, call: Awaitable[Any]) -> Any:
        before_us = await self._fetch_server_us()
        began_s = time.perf_counter()
        reply = await call
        client_us = (time.perf_counter() - began_s) * 1e6
        server_us = await self._fetch_server_us() - before_us
        self._taken[step].append(Cost(server_us, client_us))
        return reply

    async def _fetch_server_us(self) -> int:
        """Return how long the server has run scripts."""
        stats = await self.rig.store.client.info("commandstats")
        return sum(int(of["usec"]) for name, of in stats.items() if name in _SCRIPT_STATS)


_SCRIPT_STATS = ("cmdstat_evalsha", "cmdstat_eval")


def check(holds: bool, otherwise: str) -> None:
    """Raise SelfCheckFailed unless it holds."""
    if not holds:
        raise SelfCheckFailed(otherwise)


async def fill(rig: Rig, jobs: int) -> float:
    """Submit *jobs* jobs; returns the server's bytes of memory for each of them."""
    client = rig.store.client
    before = (await client.info("memory"))["used_memory"]
    # Rewriting the file is the other core's work, and what is measured must not meet it.
    await client.config_set("auto-aof-rewrite-percentage", 0)
    share = jobs // _FILLERS
    argv = ["-m", "llmjobs_bench.filler", rig.valkey.url, rig.store.prefix, str(POOL), MODEL]
    await asyncio.gather(
        *(
            rig.run(f"filler-{place}", [*argv, str(place * share), str(share)])
            for place in range(_FILLERS)
        )
    )
    check((await rig.store.fetch_pool(POOL)).queued == jobs, "jobs were lost while they came in")
    return float((await client.info("memory"))["used_memory"] - before) / jobs


async def check_order(rig: Rig, jobs: int) -> None:
    """Submit one job of each class behind *jobs* others: each must stand where fairness says."""
    waiting = Counter(islice(cycle(CLASSES), jobs))
    for job_class in CLASSES:
        job = build_job(job_class, POOL, MODEL)
        await rig.store.submit(job)
        place = (await rig.store.fetch_waiting(job.id)).position
        await rig.store.cancel(job.id)
        expected = count_ahead(job_class, waiting)
        check(place == expected, f"a {job_class} job is at {place} and not at {expected}")


def count_ahead(job_class: JobClass, waiting: Mapping[JobClass, int]) -> int:
    """Return how many of the *waiting* jobs go before the next one of *job_class*.

    The n-th job of a class has the tag n * cost / weight; the lowest goes first, and of two equal
    ones the older.
    """
    tag = (waiting[job_class] + 1) * COST / CLASS_WEIGHTS[job_class]
    return sum(
        min(count, int(tag * CLASS_WEIGHTS[other] / COST)) for other, count in waiting.items()
    )


async def measure_million(stage: Stage) -> Sequence[Figure]:
    """Fill one of two pools, and do the same to both."""
    jobs = stage.size(JOBS, 20_000)
    calls, dispatches = stage.size(300, 60), stage.size(20, 5)
    async with Rig(stage.folder / "full") as full_rig, Rig(stage.folder / "empty") as empty_rig:
        began_s = time.perf_counter()
        bytes_per_job = await fill(full_rig, jobs)
        stage.say(f"{jobs:,} jobs submitted in {time.perf_counter() - began_s:.0f} s")
        await check_order(full_rig, jobs)
        full, empty = Backlog(full_rig), Backlog(empty_rig)
        try:
            await empty.measure(calls, dispatches)
            taken = await stage.alternate(
                {
                    "full": partial(full.measure, calls, dispatches),
                    "empty": partial(empty.measure, calls, dispatches),
                }
            )
        finally:
            await full.close()
            await empty.close()
    return [*build_figures(taken), Figure(
        "memory per queued job", [bytes_per_job / 1024], "KiB", Bound(at_most=3)
    )]  # fmt: skip


def build_figures(taken: Mapping[str, Sequence[Mapping[str, Cost]]]) -> list[Figure]:
    """Return the ratio of each step, and behind it what it is made of."""
    ratios, rest = [], []
    for step in STEPS:
        full = [costs[step] for costs in taken["full"]]
        empty = [costs[step] for costs in taken["empty"]]
        server = divide([c.server_us for c in full], [c.server_us for c in empty])
        ratios.append(Figure(step, server, bound=Bound(at_most=2)))
        rest += [
            Figure(f"{step} at the server", [c.server_us for c in full], "µs"),
            Figure(f"{step} at an empty backlog", [c.server_us for c in empty], "µs"),
            Figure(f"{step} for its caller", [c.client_us for c in full], "µs"),
        ]
    return [*ratios, *rest]


MILLION = Row(
    "million",
    f"{JOBS:,} queued jobs with 500-byte prompts in one pool: the server's time for a submit, a "
    "dispatched message, a cancel and a position, against an empty backlog",
    measure_million,
)
