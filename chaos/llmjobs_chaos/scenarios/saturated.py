"""SIGKILLs of a saturated worker that has next to nothing to do for each job.

This is where plain Celery loses messages: it pops one, and dies before it has written that down.
"""

import asyncio
import random
import time

from llmjobs_chaos.cluster import Cluster
from llmjobs_chaos.ledger import Ledger
from llmjobs_chaos.load import Clients
from llmjobs_chaos.recount import read_end_times, wait_all_ended
from llmjobs_chaos.results import Figure, Outcome, highest, percentile
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_testing.waiting import eventually

LANES = 4
"""Systems side by side, each with one worker, so that most of the waiting is shared."""
CONCURRENCY = 8
BURST = 100
"""Jobs that are there when the worker is killed; it takes about half a second for them."""
LONGEST_S = 60.0


async def play(stage: Stage) -> Outcome:
    """Burst after burst: kill the only worker in the middle of it, and start it again."""
    kills = stage.size(20, 3)
    lanes = stage.size(LANES, 1)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_play_lane(stage, number, kills // lanes)) for number in range(lanes)
        ]
    violations = [sentence for task in tasks for sentence in task.result()[1]]
    late = [seconds for task in tasks for seconds in task.result()[0]]
    return Outcome(
        [
            Figure("longest from a kill to a job's end", highest(late), "s", 10.0),
            Figure("p50", percentile(late, 50), "s"),
            Figure("kills", kills),
            Figure("jobs that were cut off or waited", len(late)),
            Figure("invariants broken", len(violations), at_most=0),
        ],
        violations,
    )


async def _play_lane(stage: Stage, number: int, kills: int) -> tuple[list[float], list[str]]:
    """Return the seconds from a kill to the end of each job it met, and what is wrong."""
    ledger, dice = Ledger(), stage.dice(f"kills of {number}")
    late: list[float] = []
    async with Cluster(stage.folder / f"lane-{number}") as cluster:
        gateway = await cluster.add_gateway()
        await cluster.add_worker(concurrency=CONCURRENCY)
        async with Clients([gateway]) as clients:
            for burst in range(kills):
                late += await _play_burst(cluster, clients, ledger, burst, dice)
                stage.say(f"lane {number}, kill {burst}: all ended within {max(late):.1f} s")
        return late, await stage.settle(cluster, ledger)


async def _play_burst(
    cluster: Cluster, clients: Clients, ledger: Ledger, burst: int, dice: random.Random
) -> list[float]:
    (worker,) = cluster.workers
    await cluster.wait_slots(CONCURRENCY)
    jobs = [ledger.plan((1, 0.0)) for _ in range(BURST)]
    count = len(worker.engine.read()) + dice.randrange(5, BURST // 3)
    await clients.submit_many(f"burst-{burst}", jobs)
    await eventually(lambda: len(worker.engine.read()) >= count, what="the worker to be busy")
    killed_s = time.time()
    await worker.kill()
    await worker.restart()
    await wait_all_ended(cluster, ledger, timeout_s=LONGEST_S)
    ended_s = await read_end_times(cluster, ledger)
    return [at_s - killed_s for job in jobs if (at_s := ended_s.get(job.id, 0.0)) > killed_s]


SCENARIO = Scenario("saturated", "20 SIGKILLs of a saturated no-op worker, the only one", play)
