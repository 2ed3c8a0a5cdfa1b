"""The operator put together: settings in, tasks out. Nothing runs before :func:`run_operator`."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from llmjobs_core.names import PoolKey
from llmjobs_core.store import ChangeReader, JobStore, StoreOptions, build_feed_client
from llmjobs_core.tasks import end_tasks
from llmjobs_operator.audit import ClusterAudit
from llmjobs_operator.cluster import Cluster
from llmjobs_operator.endings import Endings
from llmjobs_operator.job_reconciler import JobReconciler
from llmjobs_operator.leader import LeaderElection
from llmjobs_operator.loops import Loops
from llmjobs_operator.metrics import OperatorMetrics
from llmjobs_operator.pool_demand import PoolDemand
from llmjobs_operator.pool_objects import WorkerDefaults
from llmjobs_operator.pool_reconciler import PoolReconciler, pool_object_key
from llmjobs_operator.probes import start_probes
from llmjobs_operator.settings import OperatorSettings
from llmjobs_operator.sightings import Sightings
from llmjobs_operator.view import ClusterView
from llmjobs_operator.watching import watch
from llmjobs_operator.worklist import Worklist

_log = structlog.get_logger(__name__)


def build_worker_defaults(settings: OperatorSettings) -> WorkerDefaults:
    """Return what the settings say of workers."""
    url = settings.worker_redis_url.get_secret_value() or settings.redis_url.get_secret_value()
    return WorkerDefaults(
        image=settings.worker_image,
        redis_url="" if settings.worker_redis_secret else url,
        redis_secret=settings.worker_redis_secret,
        redis_secret_key=settings.worker_redis_secret_key,
        prefix=settings.prefix,
        log_format=str(settings.worker_log_format),
    )


async def run_operator(settings: OperatorSettings, stop: asyncio.Event) -> None:
    """Run until *stop* is set. Raises ClusterRefused where Kubernetes can't be reached at all."""
    options = StoreOptions(settings.redis_url.get_secret_value(), prefix=settings.prefix)
    store = JobStore.connect(options)
    follower = build_feed_client(options)
    cluster = await Cluster.connect()
    metrics = OperatorMetrics(CollectorRegistry())
    view, work = ClusterView(), Worklist()
    election = LeaderElection(
        cluster,
        namespace=settings.lease_namespace,
        name=settings.lease_name,
        identity=settings.identity,
    )
    cluster.may_write = election.may_act
    metrics.leading.set_function(lambda: float(election.leading.is_set()))
    metrics.due.set_function(lambda: float(work.count_due()))

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    def poke_pool(pool: PoolKey) -> None:
        work.add(pool_object_key(pool))

    def poke_jobs(pool: PoolKey) -> None:
        loops.look_at_jobs_of(pool)

    endings = Endings(cluster, now_ms=now_ms)
    jobs = JobReconciler(
        cluster, store, view, work, metrics, endings, poke_pool=poke_pool, now_ms=now_ms
    )
    demand = PoolDemand(store, view, now_ms=now_ms)
    pools = PoolReconciler(
        cluster,
        store,
        view,
        work,
        metrics,
        build_worker_defaults(settings),
        demand,
        poke_jobs=poke_jobs,
        now_ms=now_ms,
    )
    sightings = Sightings(view, work, jobs, election, endings, poke_pool=poke_pool)
    audit = ClusterAudit(
        cluster,
        store,
        view,
        namespaces=settings.namespace_list,
        seen=sightings.see,
    )
    loops = Loops(
        view=view,
        work=work,
        store=store,
        jobs=jobs,
        pools=pools,
        demand=demand,
        election=election,
        audit=audit,
        wait_listed=sightings.wait_listed,
        metrics=metrics,
    )
    sightings.on_pool = loops.look_at_waiting_jobs

    probes = await start_probes(
        settings.bind_address, settings.metrics_port, metrics.registry, store
    )
    standing: list[Coroutine[Any, Any, None]] = [
        election.run(),
        *(loops.work() for _ in range(settings.concurrency)),
        loops.follow_changes(ChangeReader(follower, prefix=settings.prefix)),
        loops.follow_demand(settings.demand_poll_s),
        loops.resync(settings.resync_s),
        loops.reap(),
    ]
    watching = asyncio.create_task(
        watch(sightings.see, settings.namespace_list, stop, identity=settings.identity)
    )
    tasks = [watching, *(asyncio.create_task(one) for one in standing)]
    _log.info("operator_started", identity=settings.identity)
    is_asked_to_end = False
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        is_asked_to_end = stop.is_set()
    finally:
        stop.set()
        await end_tasks(tasks[1:])
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await probes.cleanup()
        await cluster.close()
        await store.close()
        await follower.aclose()
    for result in results:
        if isinstance(result, Exception):
            raise result
    if not is_asked_to_end:
        raise RuntimeError("a part of the operator was cancelled from outside")
