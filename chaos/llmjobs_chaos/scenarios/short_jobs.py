"""Many short jobs while workers and Redis are killed all the time."""

import asyncio

from llmjobs_chaos.cluster import Cluster
from llmjobs_chaos.faults import Kind, Rhythm, plan_faults
from llmjobs_chaos.ledger import Asked, Ledger
from llmjobs_chaos.load import Clients
from llmjobs_chaos.recount import wait_all_ended, watch_ends
from llmjobs_chaos.results import Figure, Outcome
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_chaos.strikes import Striker

WORKERS, CONCURRENCY = 4, 16
GROUP = 50
"""Jobs submitted by one request."""
LONGEST_S = 240.0


async def play(stage: Stage) -> Outcome:
    """Submit all at once; strike until the last job has ended."""
    ledger = Ledger()
    dice = stage.dice("jobs")
    count = stage.size(10_000, 400)
    # Most take a tenth of a second, every fiftieth two seconds.
    shapes = [(40, 20.0) if at % 50 == 0 else (dice.randrange(1, 12), 100.0) for at in range(count)]
    jobs = [ledger.plan(shape) for shape in shapes]
    faults = plan_faults(
        {
            Kind.WORKER_KILL: Rhythm(2.0),
            Kind.REDIS_KILL: Rhythm(stage.size(15, 5), (0.5, 2.0), most=stage.size(3, 1)),
        },
        duration_s=LONGEST_S,
        seed=stage.seed,
    )
    async with Cluster(stage.folder) as cluster:
        gateway = await cluster.add_gateway()
        for _ in range(WORKERS):
            await cluster.add_worker(concurrency=CONCURRENCY)
        await cluster.wait_slots(WORKERS * CONCURRENCY)
        striker, is_done = Striker(cluster, stage.say), asyncio.Event()
        async with Clients([gateway]) as clients, asyncio.TaskGroup() as group:
            group.create_task(striker.strike_all(faults, until=is_done))
            witness = group.create_task(watch_ends(cluster, ledger))
            await _submit_all(clients, jobs)
            stage.say(f"{count} jobs submitted")
            took_s = await wait_all_ended(cluster, ledger, timeout_s=LONGEST_S)
            is_done.set()
            witness.cancel()
        violations = await stage.settle(cluster, ledger)
        runs = len(cluster.read_journals())
    lost = sum(1 for asked in ledger.jobs if not asked.ends)
    return Outcome(
        [
            Figure("lost", lost, at_most=0),
            Figure("invariants broken", len(violations), at_most=0),
            Figure("worker kills", striker.struck[Kind.WORKER_KILL]),
            Figure("Redis kills", striker.struck[Kind.REDIS_KILL]),
            Figure("requests run again", runs - count),
            Figure("took", took_s, "s"),
        ],
        violations,
    )


async def _submit_all(clients: Clients, jobs: list[Asked]) -> None:
    for at in range(0, len(jobs), GROUP):
        await clients.submit_many(f"group-{at}", jobs[at : at + GROUP])


SCENARIO = Scenario(
    "short-jobs",
    "10,000 short jobs; one of 4 workers killed every 2 s, Redis killed 3 times (AOF everysec)",
    play,
)
