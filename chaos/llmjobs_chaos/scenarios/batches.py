"""A long batch whose worker, or whose Redis, goes away in the middle."""

import math
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from llmjobs_chaos.cluster import Cluster, Worker, open_users
from llmjobs_chaos.ledger import Asked, Ledger
from llmjobs_chaos.load import Clients
from llmjobs_chaos.recount import wait_all_ended
from llmjobs_chaos.results import Figure, Outcome
from llmjobs_chaos.scenario import Scenario, Stage
from llmjobs_testing.engine_journal import Entry
from llmjobs_testing.waiting import eventually

IN_FLIGHT = 64
TOKENS, RATE = (10, 30), 20.0
"""Between these two, so that lines end at any time and all slots are busy at any moment."""
UNREAD_TOKENS = 2
"""What may be on its way from the engine at the moment of the blow, and the half of a character
that a checkpoint is cut back by: a line that makes no more than this again has continued."""
SETTLING_S = 0.5
REDIS_DOWN_S = 5.0

Blow = Callable[[Cluster, Worker], Awaitable[None]]


async def play(stage: Stage, *, blow: Blow, may_run_again: bool, is_read_on: bool) -> Outcome:
    """Strike when a third of the lines have started; read the output as its client would."""
    ledger = Ledger()
    count = stage.size(1_000, 200)
    dice = stage.dice("lengths")
    asked = ledger.plan(*((dice.randrange(*TOKENS), RATE) for _ in range(count)), is_batch=True)
    async with Cluster(stage.folder) as cluster:
        gateway = await cluster.add_gateway()
        worker = await cluster.add_worker(concurrency=IN_FLIGHT)
        await cluster.wait_slots(IN_FLIGHT)
        async with Clients([gateway]) as clients:
            await clients.submit(asked)
            await eventually(
                lambda: len(worker.engine.read()) >= count // 3, what="a third of the lines started"
            )
            struck_s = time.time()
            busy = len(open_users(worker.engine.read(), struck_s))
            await blow(cluster, worker)
            took_s = await wait_all_ended(cluster, ledger, timeout_s=120)
            lines = [str(line["custom_id"]) for line in await clients.read_lines(asked)]
        entries = cluster.read_journals()
        violations = await stage.settle(cluster, ledger)
    again = find_run_again(entries, math.inf if is_read_on else struck_s)
    # What the engine ended a moment before may not have reached the store.
    in_flight = open_users(entries, struck_s - SETTLING_S, struck_s + SETTLING_S)
    return Outcome(
        [
            Figure("missing", count - len(set(lines)), at_most=0),
            Figure("written twice", len(lines) - len(set(lines)), at_most=0),
            _count_again(again, in_flight, may_run_again=may_run_again),
            Figure("lines in flight", busy),
            Figure("lines that continued", _count_continued(entries, asked) - len(again)),
            Figure("to the end", took_s, "s"),
        ],
        violations,
    )


def _count_again(again: set[str], in_flight: set[str], *, may_run_again: bool) -> Figure:
    if may_run_again:
        return Figure("run again though not in flight", len(again - in_flight), at_most=0)
    return Figure("run again", len(again), at_most=0)


def find_run_again(entries: Sequence[Entry], struck_s: float) -> set[str]:
    """Return whose tokens, of those there were at the blow, were generated twice.

    What an engine still generates while the blow works its way to it counts for nothing: nobody
    was there to read it. Where the worker goes on reading, the blow is never (``math.inf``).
    """
    reached: dict[str, int] = {}
    again = set()
    for entry in entries:
        if reached.get(entry.user, 0) - entry.start > UNREAD_TOKENS:
            again.add(entry.user)
        by_then = max(0.0, (struck_s - entry.opened_s) * RATE)
        is_met = entry.opened_s <= struck_s and (entry.closed_s or struck_s) >= struck_s
        made = int(min(entry.sent, by_then)) if is_met else entry.sent
        reached[entry.user] = max(reached.get(entry.user, 0), entry.start + made)
    return again


def _count_continued(entries: list[Entry], asked: Asked) -> int:
    opened = Counter(entry.user for entry in entries)
    return sum(opened[wanted.user] > 1 for wanted in asked.requests)


async def kill_worker(cluster: Cluster, worker: Worker) -> None:
    """SIGKILL the worker; another one starts."""
    await worker.kill()
    await cluster.add_worker(concurrency=IN_FLIGHT)


async def drain_worker(cluster: Cluster, worker: Worker) -> None:
    """SIGTERM the worker; another one starts."""
    worker.process.signal(signal.SIGTERM)
    await cluster.add_worker(concurrency=IN_FLIGHT)
    await worker.process.wait()


async def take_redis_away(cluster: Cluster, _: Worker) -> None:
    """SIGKILL Redis and let it be gone for a while."""
    await cluster.crash_redis(down_s=REDIS_DOWN_S)


_BATCH = "1,000-line batch, 64 in flight"
SCENARIOS = (
    Scenario(
        "batch-worker-killed",
        f"{_BATCH}, worker SIGKILLed: only lines in flight run again",
        partial(play, blow=kill_worker, may_run_again=True, is_read_on=False),
    ),
    Scenario(
        "batch-drained",
        f"{_BATCH}, worker SIGTERMed: none run again",
        partial(play, blow=drain_worker, may_run_again=False, is_read_on=False),
    ),
    Scenario(
        "batch-redis-gone",
        f"{_BATCH}, Redis gone for 5 s: none run again",
        partial(play, blow=take_redis_away, may_run_again=False, is_read_on=True),
    ),
)
