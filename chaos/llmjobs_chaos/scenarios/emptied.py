"""Redis is emptied under unfinished LLMJobs: they come back from the Kubernetes API."""

from llmjobs_chaos.cluster import Cluster
from llmjobs_chaos.ledger import Ledger
from llmjobs_chaos.resources import Resources
from llmjobs_chaos.results import Figure, Outcome
from llmjobs_chaos.scenario import Scenario, Stage

TOKENS, RATE = 60, 20.0
WORKERS, CONCURRENCY = 2, 16
LONGEST_S = 240.0


async def play(stage: Stage) -> Outcome:
    """Empty Redis when all jobs are accepted and the first of them run; then only wait."""
    ledger = Ledger()
    count = stage.size(200, 20)
    async with Cluster(stage.folder, with_plane=True) as cluster:
        resources = Resources(cluster)
        await resources.prepare()
        await cluster.add_operator()
        await resources.wait_pool()
        jobs = [ledger.plan((TOKENS, RATE)) for _ in range(count)]
        await resources.submit(jobs)
        await resources.wait_all(jobs, "jobId", timeout_s=120)
        stage.say(f"{count} LLMJobs accepted")
        for _ in range(WORKERS):
            await cluster.add_worker(concurrency=CONCURRENCY)
        running = min(count, WORKERS * CONCURRENCY) // 2
        await cluster.wait_requests(running)
        await cluster.store.client.flushall()
        stage.say("emptied")
        took_s = await resources.wait_all(jobs, "completionTime", timeout_s=LONGEST_S)
        phases = await resources.note_ids(jobs)
        violations = await stage.settle(cluster, ledger)
    ended = sum(phases.get(asked.key) == "Succeeded" for asked in jobs)
    return Outcome(
        [
            Figure("not complete", count - ended, at_most=0),
            Figure("all complete after", took_s, "s"),
        ],
        violations,
    )


SCENARIO = Scenario("emptied", "FLUSHALL with 200 unfinished LLMJobs; no hand needed", play)
