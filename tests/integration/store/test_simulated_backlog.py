"""The simulation's backlog hands out what the store's does, in the same order."""

import random

import pytest

from llmjobs_bench.simulation.fair import FairBacklog
from llmjobs_core.jobs import NewJob
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.states import CLASS_WEIGHTS, JobClass
from llmjobs_testing.driver import Driver

POOL = PoolKey("team-a", "small")
SLOTS = 3
FLOWS = ("search", "support", "trials")


@pytest.mark.parametrize("seed", range(5))
async def test_random_jobs_are_handed_out_in_the_order_of_the_store(
    valkey_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    driver = Driver(valkey_url, POOL)
    await driver.publish(slots=SLOTS)
    simulated, taken, numbers, busy = FairBacklog(), list[int](), dict[str, int](), 0
    expected: list[int] = []
    for number in range(120):
        job = NewJob(
            id=build_job_id(1_700_000_000_000 + number),
            pool=POOL,
            model="m",
            body=b"{}",
            cost=chance.randint(1, 50),
            job_class=chance.choice(list(JobClass)),
            flow=chance.choice(FLOWS),
            namespace_weight=chance.choice((1, 2, 4)),
        )
        numbers[job.id] = number
        weight = CLASS_WEIGHTS[job.job_class] * job.namespace_weight
        simulated.add(number, job.flow, job.job_class, job.cost, weight)
        await driver.store.submit(job)
        busy += hand_out(simulated, expected, busy)
        while busy and (chance.random() < 0.4 or number == 119):
            # A message is taken from the right end, in the store as in the simulation.
            claim = await driver.claim_one()
            taken.append(numbers[claim.ref.job_id])
            assert taken[-1] == expected.pop()
            await driver.complete(claim)
            busy += hand_out(simulated, expected, busy - 1) - 1
    await driver.close()
    assert sorted(taken) == list(range(120))


def hand_out(backlog: FairBacklog, queue: list[int], busy: int) -> int:
    """Fill *queue* as dispatch does; returns how many came into it."""
    sent = 0
    while found := backlog.take(SLOTS, busy + sent):
        job, is_urgent = found
        queue.insert(len(queue) if is_urgent else 0, job)
        sent += 1
    return sent
