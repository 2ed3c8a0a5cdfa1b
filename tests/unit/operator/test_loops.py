"""When the operator looks at an object, and what it does with one that it fails on."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from prometheus_client import CollectorRegistry

from llmjobs_core.tasks import end_tasks
from llmjobs_operator.cluster import ClusterUnavailable
from llmjobs_operator.loops import Loops
from llmjobs_operator.metrics import OperatorMetrics
from llmjobs_operator.objects import Kind, ObjectKey
from llmjobs_operator.worklist import Worklist

KEY = ObjectKey(Kind.JOB, "team-a", "a")
POOL = ObjectKey(Kind.POOL, "team-a", "p")


def build_loops(jobs: object, work: Worklist, registry: CollectorRegistry) -> Loops:
    """Return loops that can reconcile LLMJobs, and no more."""
    unused = cast("Any", None)
    return Loops(
        view=unused, work=work, store=unused, jobs=cast("Any", jobs), pools=unused,
        demand=unused, election=unused, audit=unused, wait_listed=unused,
        metrics=OperatorMetrics(registry),
    )  # fmt: skip


class Broken:
    """A reconciler with a bug."""

    async def reconcile(self, key: ObjectKey) -> None:
        raise KeyError(key.name)


async def test_a_bug_in_one_object_is_counted_and_the_object_is_tried_again() -> None:
    registry, work = CollectorRegistry(), Worklist()
    await build_loops(Broken(), work, registry)._reconcile(KEY)
    assert len(work) == 1
    labels = {"kind": "LLMJob", "error": "KeyError"}
    assert registry.get_sample_value("llmjobs_operator_reconcile_errors_total", labels) == 1


class Cancelled:
    """A reconciler whose work is cancelled by somebody else."""

    async def reconcile(self, _: ObjectKey) -> None:
        raise asyncio.CancelledError


async def test_an_object_whose_work_was_cancelled_from_outside_is_tried_again() -> None:
    work = Worklist()
    await build_loops(Cancelled(), work, CollectorRegistry())._reconcile(KEY)
    assert len(work) == 1


class Leading:
    """An election that is won."""

    def __init__(self) -> None:
        self.gained = asyncio.Event()

    async def wait_to_act(self) -> None:
        return

    def may_act(self) -> bool:
        return True


class SlowAudit:
    """An API server that has just started: refuses once, then answers when told to."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[set[Kind]] = asyncio.Queue()
        self.may_answer = asyncio.Event()
        self._has_refused = False

    async def compare(self, kinds: Iterable[Kind] = tuple(Kind)) -> None:
        self.asked.put_nowait(set(kinds))
        if not self._has_refused:
            self._has_refused = True
            raise ClusterUnavailable("storage is (re)initializing")
        await self.may_answer.wait()


class Reconciled:
    """A reconciler that says when it is called."""

    def __init__(self) -> None:
        self.called = asyncio.Event()

    async def reconcile(self, _: ObjectKey) -> None:
        self.called.set()


async def test_no_pool_is_taken_for_deleted_before_all_pools_were_seen_once() -> None:
    audit, pools, work = SlowAudit(), Reconciled(), Worklist()
    unused = cast("Any", None)
    loops = Loops(
        view=unused, work=work, store=unused, jobs=unused, pools=cast("Any", pools),
        demand=unused, election=cast("Any", Leading()), audit=cast("Any", audit),
        wait_listed=unused, metrics=OperatorMetrics(CollectorRegistry()),
    )  # fmt: skip
    work.add(POOL)
    tasks = [asyncio.create_task(loops.work()), asyncio.create_task(loops.resync(3600))]
    try:
        for _ in range(2):
            assert await audit.asked.get() == {Kind.POOL, Kind.DEPLOYMENT, Kind.POD}
            assert len(work) == 1
        assert not pools.called.is_set()
        audit.may_answer.set()
        await asyncio.wait_for(pools.called.wait(), 5)
    finally:
        await end_tasks(tasks)
