"""SIGTERM of a worker with many running jobs: how soon it is gone, and how soon they go on."""

import asyncio
import signal
import time

from llmjobs_chaos.cluster import Cluster
from llmjobs_chaos.ledger import Ledger
from llmjobs_chaos.load import Clients
from llmjobs_chaos.results import Figure, Outcome, highest, percentile
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_chaos.scenarios.worker_killed import measure_regenerated
from llmjobs_testing.waiting import eventually

TOKENS, RATE = 150, 10.0
TIMEOUT_S = 30.0


async def play(stage: Stage) -> Outcome:
    """Let one worker take all jobs, start another, and send the first one away."""
    ledger = Ledger()
    count = stage.size(64, 16)
    async with Cluster(stage.folder) as cluster:
        gateway = await cluster.add_gateway()
        leaving = await cluster.add_worker(concurrency=count)
        await cluster.wait_slots(count)
        async with Clients([gateway]) as clients:
            jobs = [ledger.plan((TOKENS, RATE)) for _ in range(count)]
            await clients.submit_many("all", jobs)
            await cluster.wait_open({asked.requests[0].user for asked in jobs})
            staying = await cluster.add_worker(concurrency=count)
            await cluster.wait_slots(2 * count)
            sent_s = time.time()
            leaving.process.signal(signal.SIGTERM)
            async with asyncio.timeout(TIMEOUT_S):
                await leaving.process.wait()
            exit_s = time.time() - sent_s
            stage.say(f"gone after {exit_s:.2f} s")
            await eventually(
                lambda: len(staying.engine.read()) >= count, what="all jobs at the second engine"
            )
            moved = [entry.opened_s - sent_s for entry in staying.engine.read()]
        violations = await stage.settle(cluster, ledger)
        regenerated = measure_regenerated(cluster.read_journals())
    return Outcome(
        [
            Figure("exit", exit_s, "s", 5.0),
            Figure("all elsewhere", highest(moved), "s", 10.0),
            Figure("p50", percentile(moved, 50), "s"),
            Figure("tokens a job made again", regenerated / count),
        ],
        violations,
    )


SCENARIO = Scenario(
    "drained",
    "SIGTERM of a worker with 64 running jobs: to exit, to all continuing elsewhere",
    play,
)
