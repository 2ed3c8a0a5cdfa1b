"""SIGKILL of a worker: how long until its jobs generate elsewhere."""

import asyncio
import random
import time
from collections.abc import Sequence

from llmjobs_chaos.cluster import Cluster, Worker, open_users
from llmjobs_chaos.ledger import Ledger
from llmjobs_chaos.load import Clients
from llmjobs_chaos.results import Figure, Outcome, highest, percentile
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_testing.engine_journal import Entry
from llmjobs_testing.waiting import eventually

WORKERS = 6
KILLED_A_ROUND = 3
JOBS_A_ROUND = 48
TOKENS, RATE = 200, 20.0
"""Ten seconds: longer than a recovery, and over before a third round could hit the same job."""
LONGEST_RECOVERY_S = 30.0


async def play(stage: Stage) -> Outcome:
    """Kill half of the workers, a little after each other, round after round."""
    ledger, dice = Ledger(), stage.dice("kills")
    recoveries: list[float] = []
    async with Cluster(stage.folder) as cluster:
        gateway = await cluster.add_gateway()
        # The half that is left has room for all.
        for _ in range(WORKERS):
            await cluster.add_worker(concurrency=2 * JOBS_A_ROUND // KILLED_A_ROUND)
        await cluster.wait_slots(WORKERS * 2 * JOBS_A_ROUND // KILLED_A_ROUND)
        async with Clients([gateway]) as clients:
            for number in range(stage.size(7, 1)):
                jobs = [ledger.plan((TOKENS, RATE)) for _ in range(JOBS_A_ROUND)]
                await clients.submit_many(f"round-{number}", jobs)
                users = {asked.requests[0].user for asked in jobs}
                await cluster.wait_open(users)
                victims = dice.sample(cluster.workers, KILLED_A_ROUND)
                took = await _kill_and_wait(cluster, victims, dice)
                stage.say(f"round {number}: {len(took)} jobs elsewhere in {max(took):.2f} s")
                recoveries += took
                for victim in victims:
                    await victim.restart()
                await cluster.wait_slots(WORKERS * 2 * JOBS_A_ROUND // KILLED_A_ROUND)
            violations = await stage.settle(cluster, ledger)
            regenerated = measure_regenerated(cluster.read_journals())
    return Outcome(
        [
            Figure("p50", percentile(recoveries, 50), "s", 5.5),
            Figure("p99", percentile(recoveries, 99), "s", 10.0),
            Figure("longest", highest(recoveries), "s"),
            Figure("jobs moved", len(recoveries)),
            Figure("tokens a job made again", regenerated / len(recoveries)),
        ],
        violations,
    )


async def _kill_and_wait(
    cluster: Cluster, victims: Sequence[Worker], dice: random.Random
) -> list[float]:
    """Kill *victims*; returns for each job they ran the seconds until it generated elsewhere."""
    killed: dict[str, tuple[Worker, float]] = {}
    for victim in victims:
        await asyncio.sleep(dice.uniform(0.0, 0.75))  # anywhere between two beats
        at_s = time.time()
        users = open_users(victim.engine.read(), at_s)
        victim.process.kill_group()
        killed |= dict.fromkeys(users, (victim, at_s))
    await asyncio.gather(*(victim.process.wait() for victim in victims))
    dead = {victim.name for victim in victims}

    def find_recovered() -> dict[str, float]:
        return {
            user: opened_s - killed[user][1]
            for worker in cluster.workers
            if worker.name not in dead
            for user, opened_s in ((e.user, e.opened_s) for e in worker.engine.read())
            if user in killed and opened_s > killed[user][1]
        }

    await eventually(
        lambda: find_recovered().keys() == killed.keys(),
        what="the jobs of the dead elsewhere",
        timeout_s=LONGEST_RECOVERY_S,
    )
    return list(find_recovered().values())


def measure_regenerated(entries: Sequence[Entry]) -> int:
    """Return how many tokens were generated more than once, over all requests."""
    reached: dict[str, int] = {}
    again = 0
    for entry in sorted(entries, key=lambda entry: entry.opened_s):
        again += max(0, reached.get(entry.user, 0) - entry.start)
        reached[entry.user] = max(reached.get(entry.user, 0), entry.reached)
    return again


SCENARIO = Scenario("worker-killed", "SIGKILL of a worker, to its jobs generating elsewhere", play)
