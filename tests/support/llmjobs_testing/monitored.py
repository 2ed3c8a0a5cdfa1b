"""One run of the whole system under the eyes of a real Prometheus, to look at what it saw.

Real processes: Valkey, API server, operator, exporter, gateway, workers, scripted engines. Things
go wrong on purpose, so that panels of errors have something to show, and three alerts fire.
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmjobs_chaos.cluster import MODEL, POOL, Cluster, Server
from llmjobs_chaos.load import CHAT
from llmjobs_dev.ports import find_free_ports
from llmjobs_monitoring.alerts import Times
from llmjobs_monitoring.rules import render_rules
from llmjobs_testing.gateways import Client
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import build_job, build_pool, install
from llmjobs_testing.prometheus import Prometheus, Target, build_static, run_prometheus
from llmjobs_testing.vllm_page import run_vllm_page
from llmjobs_testing.waiting import eventually_async

FASTER = Times(factor=0.005)
"""Half an hour is nine seconds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the run left behind."""

    prometheus: Prometheus
    fired: dict[str, dict[str, str]]
    """Annotations of the alerts that fired, by name."""


async def observe(stack: AsyncExitStack, folder: Path) -> Seen:
    """Run everything once; what was started stays until *stack* is closed."""
    cluster = await stack.enter_async_context(Cluster(folder / "cluster", with_plane=True))
    kubectl = await asyncio.to_thread(prepare, cluster)
    await cluster.add_operator()
    await cluster.add_exporter()
    gateway = await cluster.add_gateway()
    ports = find_free_ports(2)
    for port in ports:
        await cluster.add_worker(metrics_port=str(port))
    await cluster.wait_slots(16)
    vllm_port = await stack.enter_async_context(run_vllm_page())
    scrapes = build_static(list_targets(cluster, ports, vllm_port))
    prometheus = await stack.enter_async_context(
        run_prometheus(folder / "prometheus", scrapes, render_rules(FASTER))
    )
    client = Client(gateway.url)
    stack.push_async_callback(client.close)
    await work(client, kubectl.apply, POOL.name)
    await disturb(client, cluster, prometheus)
    fired = await lose_workers(client, cluster, prometheus)
    fired |= await lose_redis(client, kubectl, cluster, prometheus)
    return Seen(prometheus, fired)


def prepare(cluster: Cluster) -> Kubectl:
    """Install the CRDs, the pool whose workers we play, and one that asks for GPUs nobody has."""
    assert cluster.plane is not None
    install(cluster.plane)
    kubectl = Kubectl(cluster.plane, POOL.namespace)
    kubectl.create_namespace()
    engine = {"model": "org/model", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    kubectl.apply(
        build_pool(POOL.name, models=[MODEL], concurrency=8, scaling={"maxReplicas": 4}),
        build_pool("gpus", models=["big"], engine={"vllm": engine}, scaling={"minReplicas": 1}),
    )
    return kubectl


def list_targets(cluster: Cluster, worker_ports: list[int], vllm_port: int) -> list[Target]:
    """Return what Prometheus scrapes; workers and engines get their pool, as in a cluster."""

    def of(job: str, servers: list[Server]) -> list[Target]:
        return [Target(job, server.port) for server in servers]

    pool = {"pool": str(POOL)}
    return [
        *of("exporter", cluster.exporters),
        *of("gateway", cluster.gateways),
        *of("operator", cluster.operators),
        *(Target("worker", port, pool) for port in worker_ports),
        Target("vllm", vllm_port, pool),
    ]


def body(**script: Any) -> dict[str, Any]:
    """Return a chat request whose answer goes by *script*."""
    messages = [{"role": "user", "content": "tell me"}]
    return {"model": MODEL, "messages": messages, "script": script}


def build_batch(count: int) -> dict[str, Any]:
    """Return the options of a call that submits *count* lines."""
    lines = [
        {"custom_id": f"line-{i}", "method": "POST", "url": CHAT, "body": body()}
        for i in range(count)
    ]
    data = b"\n".join(msgspec.json.encode(line) for line in lines)
    return {"data": data, "headers": {"Content-Type": "application/jsonl"}}


async def work(client: Client, apply: Callable[..., None], pool: str) -> None:
    """Jobs by both doors: watched, batched, held, cancelled, refused, failed, tried again."""
    await asyncio.to_thread(apply, *(build_job(f"k{i}", model=MODEL) for i in range(3)))
    held = await client.submit(body=body(tokens=200, rate=10))
    long = await client.submit(body=body(tokens=400, rate=20))
    for _ in range(3):
        await client.submit(body=body(status=400))
        await client.submit(body=body(status=503, times=1, key="once"))
        await client.call("GET", "/jobs/job-that-is-not-there")
    await client.call("POST", f"/jobs?pool={pool}&class=batch", **build_batch(9))
    for _ in range(8):
        watched = await client.submit(body=body(tokens=30, rate=60))
        async with client.stream(f"/jobs/{watched}/events") as events:
            async for _event in events:
                pass
    await client.call("POST", f"/jobs/{held}/suspend")
    await client.call("POST", f"/jobs/{long}/cancel")


async def disturb(client: Client, cluster: Cluster, prometheus: Prometheus) -> None:
    """A worker freezes until its work is another's; then its engine dies."""
    frozen = cluster.workers[0]
    jobs = [await client.submit(body=body(tokens=80, rate=40)) for _ in range(12)]
    await cluster.wait_requests(len(cluster.read_journals()) + 1)
    frozen.process.signal(signal.SIGSTOP)

    async def are_done() -> bool:
        states = [(await client.call("GET", f"/jobs/{job}"))[1]["state"] for job in jobs]
        return set(states) == {"Succeeded"}

    await eventually_async(are_done, what="a frozen worker's work to be done", timeout_s=60)
    frozen.process.signal(signal.SIGCONT)
    await frozen.engine.kill()
    await prometheus.wait_true("llmjobs_worker_engine_healthy == 0")


async def lose_workers(
    client: Client, cluster: Cluster, prometheus: Prometheus
) -> dict[str, dict[str, str]]:
    """All workers die while jobs wait."""
    for worker in cluster.workers:
        await worker.kill()
    for _ in range(5):
        await client.submit(body=body())
    names = ("LLMJobsNoWorkersForBacklog", "LLMJobsOldestJobTooOld")
    return await prometheus.wait_firing(*names)


async def lose_redis(
    client: Client, kubectl: Kubectl, cluster: Cluster, prometheus: Prometheus
) -> dict[str, dict[str, str]]:
    """Redis dies; an LLMJob that comes then can't be taken in, and HTTP is answered by 503."""
    cluster.valkey.kill()
    await cluster.valkey.wait()
    await asyncio.to_thread(kubectl.apply, build_job("late", model=MODEL))
    await client.call("GET", "/jobs")
    await prometheus.wait_true("rate(llmjobs_operator_reconcile_errors_total[10s]) > 0")
    await prometheus.wait_true('rate(llmjobs_gateway_requests_total{status="503"}[10s]) >= 0')
    return await prometheus.wait_firing("LLMJobsBrokerDown")
