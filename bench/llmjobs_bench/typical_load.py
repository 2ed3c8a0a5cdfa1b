"""A load like any day's, to look at the roles under: chats by HTTP, watched; LLMJobs; scrapes.

Nothing is measured with it, so the clients may share a process and a core with it.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from llmjobs_bench.rig import MODEL, POOL, Rig, Server, build_env
from llmjobs_dev.binaries import fetch_binaries
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.ports import find_free_ports
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import USER, build_job, build_pool, install

CHATS = 32
"""Clients that each have one chat after the other, and read its events as they come."""
TOKENS = 200
RATE = 50
"""Tokens a second of each chat: as fast as people call fast."""
SLOTS = 64
_SCRAPE_S = 1.0
_LLMJOBS_AT_ONCE = 50
_LLMJOBS_S = 1.0
"""Between two applications of `_LLMJOBS_AT_ONCE` LLMJobs."""


def build_chat(tokens: int = TOKENS) -> dict[str, Any]:
    """Return the body of one chat."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": "tell me a long story"}],
        "max_tokens": tokens,
        "script": {"tokens": tokens, "rate": RATE},
    }


@asynccontextmanager
async def run_chats(gateway: Server) -> AsyncIterator[None]:
    """Have `CHATS` clients chat by *gateway* meanwhile."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout()
    async with aiohttp.ClientSession(gateway.url, connector=connector, timeout=timeout) as session:

        async def chat() -> None:
            async with session.post("/jobs", json={"body": build_chat()}) as answer:
                answer.raise_for_status()
                job_id = (await answer.json())["id"]
            async with session.get(f"/jobs/{job_id}/events") as events:
                async for _ in events.content.iter_any():
                    pass

        async with _repeat(*[(chat, 0.0)] * CHATS):
            yield


@asynccontextmanager
async def run_scrapes(exporter: Server) -> AsyncIterator[None]:
    """Read the *exporter*'s metrics once a second meanwhile: more often than anybody would."""
    async with aiohttp.ClientSession(exporter.url) as session:

        async def scrape() -> None:
            async with session.get("/metrics") as answer:
                await answer.read()

        async with _repeat((scrape, _SCRAPE_S)):
            yield


@asynccontextmanager
async def run_llmjobs(kubectl: Kubectl) -> AsyncIterator[None]:
    """Apply new LLMJobs again and again meanwhile."""
    made = 0

    async def apply() -> None:
        nonlocal made
        names = [f"job-{made + number}" for number in range(_LLMJOBS_AT_ONCE)]
        made += len(names)
        request = {"endpoint": "/v1/chat/completions", "body": build_chat(20)}
        jobs = [build_job(name, model=MODEL, request=request) for name in names]
        await asyncio.to_thread(kubectl.apply, *jobs)

    async with _repeat((apply, _LLMJOBS_S)):
        yield


@asynccontextmanager
async def _repeat(*works: tuple[Any, float]) -> AsyncIterator[None]:
    """Do each of *works* over and over, with so many seconds between; until left."""

    async def go_on(work: Any, pause_s: float) -> None:
        while True:
            await work()
            await asyncio.sleep(pause_s)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(go_on(work, pause_s)) for work, pause_s in works]
        yield
        for task in tasks:
            task.cancel()


async def add_exporter(rig: Rig) -> Server:
    """Start an exporter."""
    (port,) = find_free_ports(1)
    env = build_env({"redis_url": rig.valkey.url, "port": str(port)})
    return await rig.add("exporter", ["-m", "llmjobs_api.exporter"], port=port, env=env)


@asynccontextmanager
async def run_plane(rig: Rig) -> AsyncIterator[tuple[Server, Kubectl]]:
    """Run an API server without controllers, and an operator that leads; gives it and kubectl."""
    binaries = await fetch_binaries(print)
    plane = ControlPlane(binaries, rig.folder / "plane", with_controllers=False)
    await plane.start()
    try:
        await asyncio.to_thread(install, plane)
        kubectl = Kubectl(plane, POOL.namespace)
        await asyncio.to_thread(kubectl, "create", "namespace", POOL.namespace)
        operator = await _add_operator(rig, plane)
        pool = build_pool(POOL.name, models=[MODEL], concurrency=SLOTS)
        await asyncio.to_thread(kubectl.apply, pool)
        yield operator, kubectl
    finally:
        await plane.stop()


async def _add_operator(rig: Rig, plane: ControlPlane) -> Server:
    (port,) = find_free_ports(1)
    wanted = {"redis_url": rig.valkey.url, "metrics_port": str(port), "identity": "operator"}
    config = plane.kubeconfig_for("operator", user=USER)
    env = {**build_env(wanted), "KUBECONFIG": str(config)}
    return await rig.add("operator", ["-m", "llmjobs_operator"], port=port, env=env)


async def fetch_command_stats(rig: Rig) -> list[tuple[str, dict[str, float]]]:
    """Return what Valkey did since `reset_command_stats`, the most time first."""
    told: dict[str, dict[str, float]] = await rig.store.client.info("commandstats")
    named = [(key.removeprefix("cmdstat_"), value) for key, value in told.items()]
    return sorted(named, key=lambda pair: -pair[1]["usec"])


async def reset_command_stats(rig: Rig) -> None:
    """Have Valkey count its commands from now on."""
    await rig.store.client.config_resetstat()


def describe_load() -> str:
    """Return one line on what is going on while a role is looked at."""
    return json.dumps({"chats": CHATS, "tokens": TOKENS, "tokens/s of each": RATE, "slots": SLOTS})
