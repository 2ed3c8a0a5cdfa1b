"""SIGKILL at nine tenths of long jobs: how much is generated again."""

from llmjobs_chaos.cluster import Cluster
from llmjobs_chaos.ledger import Ledger
from llmjobs_chaos.load import Clients
from llmjobs_chaos.results import Figure, Outcome
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_chaos.scenarios.worker_killed import measure_regenerated
from llmjobs_testing.waiting import eventually_async

RATE = 150.0
JOBS = 4


async def play(stage: Stage) -> Outcome:
    """Kill the worker once every job has nine tenths of its tokens written down."""
    ledger = Ledger()
    tokens = stage.size(4_000, 1_500)
    async with Cluster(stage.folder) as cluster:
        gateway = await cluster.add_gateway()
        worker = await cluster.add_worker()
        await cluster.wait_slots(8)
        async with Clients([gateway]) as clients:
            jobs = [ledger.plan((tokens, RATE)) for _ in range(JOBS)]
            await clients.submit_many("all", jobs)
            await cluster.wait_open({asked.requests[0].user for asked in jobs})
            heir = await cluster.add_worker()
            await cluster.wait_slots(16)

            async def are_at_nine_tenths() -> bool:
                records = await cluster.store.fetch_many([asked.id for asked in jobs])
                return all(r is not None and r.tokens >= tokens * 0.9 for r in records)

            await eventually_async(are_at_nine_tenths, what="nine tenths", timeout_s=90)
            await worker.kill()
        violations = await stage.settle(cluster, ledger)
        again = measure_regenerated(cluster.read_journals())
        moved = sum(entry.start >= tokens * 0.9 - 1 for entry in heir.engine.read())
        records = await cluster.store.fetch_many([asked.id for asked in jobs])
    told = sum(r.usage.regenerated_tokens for r in records if r is not None)
    return Outcome(
        [
            Figure("generated again", 100 * again / (tokens * JOBS), "%", 1.0),
            Figure("not continued from there", JOBS - moved, at_most=0),
            Figure("tokens a job", again / JOBS),
            Figure("tokens a job by its usage", told / JOBS),
        ],
        violations,
    )


SCENARIO = Scenario(
    "nearly-done", "SIGKILL at 90 % of 4,000-token jobs, exact engine: tokens made again", play
)
