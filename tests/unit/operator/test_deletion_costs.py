"""Which pods a scale-in should spare."""

from typing import Any

from llmjobs_core.names import PoolKey
from llmjobs_core.pools import WorkerInfo
from llmjobs_operator.deletion_costs import plan_deletion_costs
from llmjobs_operator.objects import DELETION_COST

POOL = PoolKey("team-a", "p")


def make_pod(name: str, cost: str | None = None) -> dict[str, Any]:
    annotations = {} if cost is None else {DELETION_COST: cost}
    return {"metadata": {"name": name, "annotations": annotations}}


def make_worker(worker: str, running: int, pool: PoolKey = POOL) -> WorkerInfo:
    return WorkerInfo(id=worker, pool=pool, slots=4, running=running, expires_ms=0)


def test_a_pod_costs_what_it_runs() -> None:
    workers = [make_worker("p-1.ab12", 3), make_worker("p-2.cd34", 0)]
    assert plan_deletion_costs([make_pod("p-1"), make_pod("p-2")], workers, POOL) == {"p-1": 3}


def test_a_cost_of_an_earlier_scale_in_is_put_right() -> None:
    assert plan_deletion_costs([make_pod("p-1", "7")], [], POOL) == {"p-1": 0}


def test_what_is_so_already_is_not_written_again() -> None:
    assert plan_deletion_costs([make_pod("p-1", "3")], [make_worker("p-1.x", 3)], POOL) == {}


def test_workers_of_other_pools_do_not_count() -> None:
    other = make_worker("p-1.x", 3, PoolKey("team-b", "p"))
    assert plan_deletion_costs([make_pod("p-1")], [other], POOL) == {}
