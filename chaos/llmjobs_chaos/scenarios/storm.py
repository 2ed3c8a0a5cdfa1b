"""Everything at once: mixed work by both doors, mixed faults of every kind, then quiet."""

import asyncio
import random

from llmjobs_chaos.cluster import Cluster
from llmjobs_chaos.faults import Kind, Rhythm, plan_faults
from llmjobs_chaos.ledger import Asked, Ledger
from llmjobs_chaos.load import Clients
from llmjobs_chaos.recount import wait_all_ended, watch_ends
from llmjobs_chaos.resources import Resources
from llmjobs_chaos.results import Figure, Outcome
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_chaos.scenarios.worker_killed import measure_regenerated
from llmjobs_chaos.strikes import Striker

WORKERS, GATEWAYS, OPERATORS, CONCURRENCY = 4, 2, 2, 8
RATE = 20.0
BACKOFF_LIMIT = 0
"""What dies under a job is not its failure, so no fault may cost an attempt."""
QUIET_S = 120.0
"""In this time after the last fault everything must have ended."""

RHYTHMS = {
    Kind.WORKER_KILL: Rhythm(9.0, (0.0, 1.0), first_s=5.0),
    Kind.WORKER_STOP: Rhythm(25.0, (7.0, 11.0), first_s=12.0),
    Kind.WORKER_TERM: Rhythm(20.0, first_s=9.0),
    Kind.ENGINE_KILL: Rhythm(15.0, (0.5, 2.0), first_s=7.0),
    Kind.ENGINE_STOP: Rhythm(30.0, (10.0, 13.0), first_s=11.0),
    Kind.GATEWAY_KILL: Rhythm(9.0, (0.0, 1.0), first_s=6.0),
    Kind.GATEWAY_STOP: Rhythm(27.0, (2.0, 4.0), first_s=15.0),
    Kind.OPERATOR_KILL: Rhythm(25.0, (0.0, 2.0), first_s=10.0),
    Kind.OPERATOR_STOP: Rhythm(50.0, (12.0, 14.0), first_s=30.0),
    Kind.REDIS_KILL: Rhythm(30.0, (0.5, 2.0), first_s=14.0),
    Kind.REDIS_SLOW: Rhythm(20.0, (2.0, 4.0), first_s=18.0),
    Kind.REDIS_CUT: Rhythm(11.0, first_s=8.0),
    Kind.API_SERVER_KILL: Rhythm(40.0, first_s=20.0),
}


async def play(stage: Stage) -> Outcome:
    """Let it storm while clients come and go; then let the last job end."""
    ledger = Ledger()
    duration_s = float(stage.size(75, 24))
    faults = plan_faults(RHYTHMS, duration_s=duration_s, seed=stage.seed)
    async with Cluster(stage.folder, with_plane=True, proxied=True) as cluster:
        resources = Resources(cluster, backoff_limit=BACKOFF_LIMIT)
        await resources.prepare()
        for _ in range(OPERATORS):
            await cluster.add_operator()
        for _ in range(GATEWAYS):
            await cluster.add_gateway()
        for _ in range(WORKERS):
            await cluster.add_worker(concurrency=CONCURRENCY)
        await resources.wait_pool()
        await cluster.wait_slots(WORKERS * CONCURRENCY)
        striker = Striker(cluster, stage.say)
        async with Clients(cluster.gateways, backoff_limit=BACKOFF_LIMIT) as clients:
            crowd = Crowd(clients, resources, ledger, stage.dice("clients"))
            async with asyncio.TaskGroup() as group:
                witness = group.create_task(watch_ends(cluster, ledger))
                async with asyncio.TaskGroup() as storm:
                    storm.create_task(striker.strike_all(faults, until=asyncio.Event()))
                    storm.create_task(crowd.come_and_go(duration_s, group))
                stage.say("quiet")
                took_s = await wait_all_ended(cluster, ledger, timeout_s=QUIET_S)
                witness.cancel()
            if crowd.by_kubectl:
                await resources.wait_all(crowd.by_kubectl, "completionTime", timeout_s=QUIET_S)
            phases = await resources.note_ids(crowd.by_kubectl)
        violations = await stage.settle(cluster, ledger)
        again = measure_regenerated(cluster.read_journals())
    violations += [
        f"{asked.key} has ended, and its LLMJob is {phases[asked.key]}"
        for asked in crowd.by_kubectl
        if phases[asked.key] != "Succeeded"
    ]
    watched = [asked.watched for asked in ledger.jobs if asked.watched is not None]
    return Outcome(
        [
            Figure("invariants broken", len(violations), at_most=0),
            Figure("faults", striker.struck.total()),
            Figure("jobs", len(ledger.jobs)),
            Figure("by kubectl", len(crowd.by_kubectl)),
            Figure("cancelled", sum(asked.is_cancelled for asked in ledger.jobs)),
            Figure("submissions refused and repeated", sum(a.refusals for a in ledger.jobs)),
            Figure("watchers", len(watched)),
            Figure("reconnects", sum(one.reconnects for one in watched)),
            Figure("all ended after", took_s, "s", QUIET_S),
            Figure("tokens made again", again),
        ],
        violations,
    )


class Crowd:
    """Clients of every kind, at random."""

    def __init__(
        self, clients: Clients, resources: Resources, ledger: Ledger, dice: random.Random
    ) -> None:
        self._clients = clients
        self._resources = resources
        self._ledger = ledger
        self._dice = dice
        self.by_kubectl: list[Asked] = []

    async def come_and_go(self, duration_s: float, group: asyncio.TaskGroup) -> None:
        """Start clients for *duration_s*; they live on in *group*."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + duration_s
        turn = 0
        while loop.time() < until_s:
            turn += 1
            if turn % 25 == 0:
                shapes = [(self._dice.randrange(5, 40), RATE) for _ in range(30)]
                group.create_task(self._come(self._ledger.plan(*shapes, is_batch=True)))
            elif turn % 6 == 0:
                asked = self._ledger.plan(self._throw_shape())
                self.by_kubectl.append(asked)
                group.create_task(self._resources.submit([asked]))
            else:
                group.create_task(self._come(self._ledger.plan(self._throw_shape())))
            await asyncio.sleep(self._dice.uniform(0.1, 0.5))

    def _throw_shape(self) -> tuple[int, float]:
        return self._dice.randrange(10, 160), RATE

    async def _come(self, asked: Asked) -> None:
        """Submit, and perhaps watch, cancel, or hold for a while."""
        luck, after_s = self._dice.random(), self._dice.uniform(0.0, 5.0)
        await self._clients.submit(asked)
        if luck < 0.35:
            await self._clients.watch(asked)
        elif luck < 0.50:
            await asyncio.sleep(after_s)
            await self._clients.cancel(asked)
        elif luck < 0.60:
            await asyncio.sleep(after_s)
            await self._clients.hold_for(asked, after_s)


SCENARIO = Scenario(
    "storm",
    "every kind of fault over single jobs, LLMJobs, batches, cancels, holds and watchers",
    play,
)
