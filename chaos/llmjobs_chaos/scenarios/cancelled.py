"""Cancelling running jobs: how soon the engine's request is closed."""

import asyncio

from llmjobs_chaos.cluster import Cluster
from llmjobs_chaos.ledger import Asked, Ledger
from llmjobs_chaos.load import Clients
from llmjobs_chaos.results import Figure, Outcome, highest, percentile
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_testing.waiting import eventually

TOKENS, RATE = 100_000, 20.0
GAP_S = 0.25


async def play(stage: Stage) -> Outcome:
    """Cancel jobs at random moments, half of them streaming, half of them silent."""
    ledger, dice = Ledger(), stage.dice("moments")
    count = stage.size(80, 20)
    async with Cluster(stage.folder) as cluster:
        gateway = await cluster.add_gateway()
        worker = await cluster.add_worker(concurrency=count)
        await cluster.wait_slots(count)
        async with Clients([gateway]) as clients:
            jobs = [
                ledger.plan((TOKENS, RATE), stall_at=3 if at % 2 else -1) for at in range(count)
            ]
            await clients.submit_many("all", jobs)
            await cluster.wait_open({asked.requests[0].user for asked in jobs})
            sent_s: dict[str, float] = {}
            for asked in dice.sample(jobs, count):
                await asyncio.sleep(dice.uniform(0.0, GAP_S))
                sent_s[asked.requests[0].user] = await clients.cancel(asked)
            await eventually(
                lambda: all(entry.closed_s for entry in worker.engine.read()),
                what="every request closed at the engine",
            )
        took = {e.user: (e.closed_s or 0) - sent_s[e.user] for e in worker.engine.read()}
        violations = await stage.settle(cluster, ledger)
    return Outcome(
        [
            Figure("streaming, longest", highest(_pick(took, jobs[::2])), "s", 1.0),
            Figure("silent, longest", highest(_pick(took, jobs[1::2])), "s", 1.0),
            Figure("p50", percentile(list(took.values()), 50), "s"),
            Figure("p99", percentile(list(took.values()), 99), "s"),
            Figure("cancels", count),
        ],
        violations,
    )


def _pick(took: dict[str, float], jobs: list[Asked]) -> list[float]:
    return [took[asked.requests[0].user] for asked in jobs]


SCENARIO = Scenario("cancelled", "cancel of a running job, to its engine request closed", play)
