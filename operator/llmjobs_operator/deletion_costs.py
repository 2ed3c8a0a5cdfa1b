"""Which pods a scale-in should spare: pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from llmjobs_core.names import PoolKey
from llmjobs_core.pools import WorkerInfo
from llmjobs_operator.objects import DELETION_COST


def plan_deletion_costs(
    pods: Iterable[Mapping[str, Any]], workers: Iterable[WorkerInfo], pool: PoolKey
) -> dict[str, int]:
    """Return the new deletion cost of each pod that has another now: the requests that it runs.

    A pod whose worker the store does not know runs nothing. A worker's id is its pod's name, a dot
    and a suffix for the process.
    """
    running: Counter[str] = Counter()
    for worker in workers:
        if worker.pool == pool:
            running[worker.id.rpartition(".")[0]] += worker.running
    costs: dict[str, int] = {}
    for pod in pods:
        meta = pod["metadata"]
        now = (meta.get("annotations") or {}).get(DELETION_COST, "0")
        if now != str(running[meta["name"]]):
            costs[meta["name"]] = running[meta["name"]]
    return costs
