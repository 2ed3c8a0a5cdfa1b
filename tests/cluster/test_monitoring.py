"""A real Prometheus finds the running system by the chart's own monitors, and sees it suffer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from llmjobs_e2e.monitors import build_scrapes
from llmjobs_e2e.node_files import NODE_NAME
from llmjobs_e2e.pools import build_llmjob, build_scripted, delete_pool, install_pool
from llmjobs_e2e.programs import fetch_prometheus
from llmjobs_e2e.target import RELEASE, SYSTEM, Target
from llmjobs_monitoring.rules import RUNBOOK_BASE_URL, render_rules
from llmjobs_testing import promql
from llmjobs_testing.gateways import Client
from llmjobs_testing.monitored import FASTER, Seen, body, work
from llmjobs_testing.prometheus import INTERVAL, Prometheus, run_prometheus
from llmjobs_testing.servers import ServerThread
from llmjobs_testing.waiting import eventually_async

POOL = "watched"
STORE = f"statefulset/{RELEASE}-valkey"
PANELS = promql.list_panels()


@pytest.fixture(scope="module")
def watched(target: Target, team: str) -> Iterator[str]:
    """A pool of two workers, their engines with a page of vLLM's metrics."""
    if target.own is None:
        pytest.skip("cordons the node and stops the store")
    install_pool(target, POOL, team, build_scripted(target, replicas=2, most=2, concurrency=8))
    yield POOL
    delete_pool(target, POOL, team)


@pytest.fixture(scope="module")
def seen(
    target: Target,
    team: str,
    watched: str,
    server_thread: ServerThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Seen]:
    """What Prometheus saw; it still answers."""
    program = fetch_prometheus(print)
    folder = tmp_path_factory.mktemp("monitored") / "prometheus"
    monitors = [
        one for kind in ("servicemonitor", "podmonitor") for one in target.list(kind, SYSTEM)
    ]
    scrapes = build_scrapes(monitors, kubeconfig=target.kubeconfig, interval=INTERVAL)
    stack = AsyncExitStack()

    async def observe() -> Seen:
        prometheus = await stack.enter_async_context(
            run_prometheus(folder, scrapes, render_rules(FASTER), program=program)
        )
        return Seen(prometheus, await suffer(target, team, watched, prometheus))

    try:
        yield server_thread.run(observe())
    finally:
        server_thread.run(stack.aclose())


async def suffer(
    target: Target, team: str, pool: str, prometheus: Prometheus
) -> dict[str, dict[str, str]]:
    """Work; then lose a worker, all workers, and the store. Returns what alerts fired."""
    apply = partial(target.apply, namespace=team)
    headers = {"Authorization": f"Bearer {target.fetch_token(team)}"}
    client = Client(target.fetch_gateway_url(), headers)
    try:
        await work(client, apply, pool)
        await lose_a_worker(target, team, pool, client)
        async with no_workers(target, team, pool):
            for _ in range(5):
                await client.submit(body=body())
            fired = await prometheus.wait_firing(
                "LLMJobsNoWorkersForBacklog", "LLMJobsOldestJobTooOld"
            )
        async with no_store(target):
            await asyncio.to_thread(apply, build_llmjob("late"))
            await client.call("GET", "/jobs")
            await prometheus.wait_true("rate(llmjobs_operator_reconcile_errors_total[10s]) > 0")
            fired |= await prometheus.wait_firing("LLMJobsBrokerDown")
    finally:
        await client.close()
    return fired


async def lose_a_worker(target: Target, team: str, pool: str, client: Client) -> None:
    """Delete one worker by force; returns when its jobs are done by others."""
    jobs = [await client.submit(body=body(tokens=80, rate=20)) for _ in range(12)]

    async def have_all(state: str) -> bool:
        states = [(await client.call("GET", f"/jobs/{job}"))[1]["state"] for job in jobs]
        return set(states) == {state}

    await eventually_async(partial(have_all, "Running"), what="all jobs to run", timeout_s=30)
    victim = target.list("pods", team, f"llmjobs.dev/pool={pool}")[0]["metadata"]["name"]
    await asyncio.to_thread(
        target.kubectl, "-n", team, "delete", "pod", victim, "--force", "--grace-period=0"
    )
    await eventually_async(partial(have_all, "Succeeded"), what="all jobs to end", timeout_s=60)


@asynccontextmanager
async def no_workers(target: Target, team: str, pool: str) -> AsyncIterator[None]:
    """The node takes no pods, and the pool's are gone."""

    def remove() -> None:
        target.kubectl("cordon", NODE_NAME)
        selector = f"llmjobs.dev/pool={pool}"
        target.kubectl(
            "-n", team, "delete", "pod", "-l", selector, "--field-selector=spec.nodeName!="
        )

    await asyncio.to_thread(remove)
    try:
        yield
    finally:
        await asyncio.to_thread(target.kubectl, "uncordon", NODE_NAME)


@asynccontextmanager
async def no_store(target: Target) -> AsyncIterator[None]:
    """Valkey is gone until this is left; its data stays on its volume."""
    scale = partial(target.kubectl, "-n", SYSTEM, "scale", STORE)
    await asyncio.to_thread(scale, "--replicas=0")
    try:
        await asyncio.to_thread(
            target.kubectl, "-n", SYSTEM, "wait", "pod", f"{RELEASE}-valkey-0", "--for=delete",
            "--timeout=60s",
        )  # fmt: skip
        yield
    finally:
        await asyncio.to_thread(scale, "--replicas=1")
        await asyncio.to_thread(
            target.kubectl, "-n", SYSTEM, "rollout", "status", STORE, "--timeout=90s"
        )


@pytest.mark.parametrize("panel", PANELS)
def test_no_query_of_a_panel_is_empty(
    panel: str, seen: Seen, team: str, server_thread: ServerThread
) -> None:
    for expression in PANELS[panel]:
        asked = promql.fill_in(expression, namespace=f"({team})", interval="10s")
        series = server_thread.run(seen.prometheus.query_since_begin(asked))
        assert promql.has_data(series), asked


@pytest.mark.parametrize(
    ("alert", "page", "says"),
    [
        ("NoWorkersForBacklog", "no-workers-for-backlog", "Requests wait in team-a/watched"),
        ("OldestJobTooOld", "oldest-job-too-old", "A job of team-a/watched has waited"),
        ("BrokerDown", "broker-down", f"Redis can't be read by any exporter in {SYSTEM}."),
    ],
)
def test_an_alert_fires_on_the_real_thing(alert: str, page: str, says: str, seen: Seen) -> None:
    annotations = seen.fired[f"LLMJobs{alert}"]
    assert annotations["summary"].startswith(says)
    assert annotations["runbook_url"] == f"{RUNBOOK_BASE_URL}/{page}.md"


async def test_what_came_while_all_was_lost_is_done_when_it_is_back(
    target: Target, team: str, seen: Seen
) -> None:
    await asyncio.to_thread(
        target.kubectl, "-n", team, "wait", "lj/late", "--for=condition=Complete",
        "--timeout=90s",
    )  # fmt: skip
    names = [job["metadata"]["name"] for job in target.list("lj", team)]
    target.kubectl("-n", team, "delete", "lj", *names)


def test_pools_and_jobs_are_told_apart_by_their_own_labels(
    seen: Seen, server_thread: ServerThread, team: str
) -> None:
    ups = server_thread.run(seen.prometheus.query(f'up{{pool="{team}/{POOL}"}}'))
    assert {one["metric"]["endpoint"] for one in ups} == {"metrics", "engine"}
    assert all(one["metric"]["namespace"] == team and one["metric"]["pod"] for one in ups)
