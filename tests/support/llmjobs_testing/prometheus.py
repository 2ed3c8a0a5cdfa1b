"""A real Prometheus that scrapes what runs here, and what tests ask of it."""

import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from llmjobs_dev.ports import find_free_ports
from llmjobs_dev.process import Process
from llmjobs_testing.prometheus_tools import find_program
from llmjobs_testing.waiting import eventually_async

INTERVAL = "1s"
"""Between scrapes, and between looks at the rules."""

Scrape = Mapping[str, Any]
"""One entry of ``scrape_configs``."""


@dataclass(frozen=True, slots=True)
class Target:
    """One process to scrape, on loopback."""

    job: str
    port: int
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the scrape adds, as relabelling does in a cluster."""


class Prometheus:
    """What one Prometheus has seen since *began_s*; made by `run_prometheus`."""

    def __init__(self, http: aiohttp.ClientSession, began_s: float) -> None:
        self._http = http
        self.began_s = began_s

    async def query_since_begin(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that a panel would draw over the whole run."""
        now_s = time.time()
        # Whole steps back from now, so that what is to be seen at this moment is a point, too.
        start_s = now_s - math.ceil(now_s - self.began_s)
        span = {"start": f"{start_s}", "end": f"{now_s}", "step": INTERVAL}
        data = await self._ask("/api/v1/query_range", {"query": expression, **span})
        return list(data["result"])

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives now."""
        data = await self._ask("/api/v1/query", {"query": expression})
        return list(data["result"])

    async def fetch_names(self) -> set[str]:
        """Return the name of every series that was ever scraped."""
        return set(await self._ask("/api/v1/label/__name__/values", {}))

    async def fetch_health(self) -> dict[str, set[str]]:
        """Return how the last readings went (``up``, ``down``, ``unknown``), by scrape's name."""
        health: dict[str, set[str]] = {}
        for target in (await self._ask("/api/v1/targets", {"state": "active"}))["activeTargets"]:
            health.setdefault(target["scrapePool"], set()).add(target["health"])
        return health

    async def fetch_firing(self) -> dict[str, dict[str, str]]:
        """Return the annotations of each alert that fires now, by its name."""
        alerts = (await self._ask("/api/v1/alerts", {}))["alerts"]
        return {
            one["labels"]["alertname"]: one["annotations"]
            for one in alerts
            if one["state"] == "firing"
        }

    async def wait_true(self, expression: str, *, timeout_s: float = 60.0) -> None:
        """Return when an expression gives anything."""

        async def is_true() -> bool:
            return bool(await self.query(expression))

        await eventually_async(is_true, what=expression, timeout_s=timeout_s)

    async def wait_firing(self, *names: str, timeout_s: float = 60.0) -> dict[str, dict[str, str]]:
        """Return the annotations of *names* once all of them fire."""
        found: dict[str, dict[str, str]] = {}

        async def do_they_fire() -> bool:
            found.update(await self.fetch_firing())
            return set(names) <= set(found)

        await eventually_async(do_they_fire, what=f"{names} to fire", timeout_s=timeout_s)
        return {name: found[name] for name in names}

    async def wait_all_up(self, scrapes: Sequence[Scrape], *, timeout_s: float = 60.0) -> None:
        """Return when each scrape has targets and all of them could be read."""
        names = {scrape["job_name"] for scrape in scrapes}

        async def are_up() -> bool:
            health = await self.fetch_health()
            return set(health) == names and all(found == {"up"} for found in health.values())

        await eventually_async(are_up, what="every target to be scraped", timeout_s=timeout_s)

    async def _ask(self, path: str, params: Mapping[str, str]) -> Any:
        async with self._http.get(path, params=params) as response:
            body = await response.json()
        assert body["status"] == "success", (params, body)
        return body["data"]


@asynccontextmanager
async def run_prometheus(
    folder: Path, scrapes: Sequence[Scrape], rules: str, *, program: Path | None = None
) -> AsyncIterator[Prometheus]:
    """Scrape and evaluate *rules* every second; given once every target has been scraped.

    *program* is another build than Debian's, which knows no service discovery of Kubernetes.
    """
    config = _write_config(folder, scrapes, rules)
    (port,) = find_free_ports(1)
    argv = [
        str(program or find_program("prometheus")),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = Process("prometheus", argv, log=folder / "prometheus.log")
    await process.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            await _wait_ready(http)
            prometheus = Prometheus(http, began_s=time.time())
            await prometheus.wait_all_up(scrapes)
            yield prometheus
    finally:
        process.kill_group()
        await process.wait()


async def _wait_ready(http: aiohttp.ClientSession) -> None:
    async def is_ready() -> bool:
        try:
            async with http.get("/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    await eventually_async(is_ready, what="Prometheus to answer", timeout_s=30)


def build_static(targets: Sequence[Target]) -> list[Scrape]:
    """Return a scrape for each job of *targets*."""
    return [
        {
            "job_name": job,
            "static_configs": [
                {"targets": [f"127.0.0.1:{one.port}"], "labels": dict(one.labels)}
                for one in targets
                if one.job == job
            ],
        }
        for job in sorted({target.job for target in targets})
    ]


def _write_config(folder: Path, scrapes: Sequence[Scrape], rules: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "rules.yaml").write_text(rules)
    config = {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [dict(scrape) for scrape in scrapes],
    }
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
