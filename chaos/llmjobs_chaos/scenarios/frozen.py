"""A worker is frozen for twice its lease and then goes on as if nothing had happened."""

import asyncio
import signal
import time

from llmjobs_chaos.cluster import Cluster
from llmjobs_chaos.ledger import Ledger
from llmjobs_chaos.load import Clients
from llmjobs_chaos.results import Figure, Outcome, highest
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_core.store.leases import LEASE_S
from llmjobs_testing.waiting import eventually

SHORT, LONG, RATE = 100, 400, 20.0
"""Tokens: when the worker thaws, its engine has long ended the short ones and is at the long."""
FROZEN_S = 2 * LEASE_S
LOGS = ("result_refused_by_fence", "request_aborted")
"""What a worker says of a request that is not its own any more."""


async def play(stage: Stage) -> Outcome:
    """Freeze a worker with all jobs; another takes over; thaw it, and count what it still tries."""
    ledger = Ledger()
    count = stage.size(32, 8)
    async with Cluster(stage.folder) as cluster:
        gateway = await cluster.add_gateway()
        first = await cluster.add_worker(concurrency=count)
        await cluster.wait_slots(count)
        async with Clients([gateway]) as clients:
            jobs = [ledger.plan((SHORT if at % 2 else LONG, RATE)) for at in range(count)]
            await clients.submit_many("all", jobs)
            await cluster.wait_open({asked.requests[0].user for asked in jobs})
            second = await cluster.add_worker(concurrency=count)
            await cluster.wait_slots(2 * count)
            first.process.signal(signal.SIGSTOP)
            await asyncio.sleep(FROZEN_S)
            first.process.signal(signal.SIGCONT)
            thawed_s = time.time()
            await eventually(
                lambda: _count_late(first.process.log.read_text()) >= count,
                what="every late request refused",
            )
            refused = _count_late(first.process.log.read_text())
            closed = [entry.closed_s or time.time() for entry in first.engine.read()]
            aborts = [at_s - thawed_s for at_s in closed if at_s > thawed_s]
        violations = await stage.settle(cluster, ledger)
        records = await cluster.store.fetch_many([asked.id for asked in jobs])
    won = sum(r is not None and r.worker.startswith("worker-0") for r in records)
    return Outcome(
        [
            Figure("late requests", count),
            Figure("not refused", count - refused, at_most=0),
            Figure("completed by the frozen worker", won, at_most=0),
            Figure("invariants broken", len(violations), at_most=0),
            Figure("thaw to engine requests closed", highest(aborts), "s", 1.0),
            Figure("continued by the other", len(second.engine.read())),
        ],
        violations,
    )


def _count_late(log: str) -> int:
    """Return of how many requests the worker says that they are lost to it."""
    return sum(any(f'"event": "{word}"' in line for word in LOGS) for line in log.splitlines())


SCENARIO = Scenario("frozen", "a worker SIGSTOPped for twice its lease, then continued", play)
