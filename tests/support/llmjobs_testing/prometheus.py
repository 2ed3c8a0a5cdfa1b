"""A real Prometheus that scrapes processes on loopback, and what tests ask of it."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

from llmjobs_dev.ports import find_free_ports
from llmjobs_dev.process import Process
from llmjobs_testing.prometheus_tools import find_program
from llmjobs_testing.waiting import eventually_async

INTERVAL = "1s"
"""Between scrapes, and between looks at the rules."""


@dataclass(frozen=True, slots=True)
class Target:
    """One process to scrape."""

    job: str
    port: int
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the scrape adds, as relabelling does in a cluster."""


class Prometheus:
    """Scrapes every second from when it is entered; killed when it is left."""

    def __init__(self, folder: Path, targets: Sequence[Target], rules: str) -> None:
        folder.mkdir(parents=True)
        (self._port,) = find_free_ports(1)
        (folder / "rules.yaml").write_text(rules)
        config = folder / "prometheus.yaml"
        config.write_text(yaml.safe_dump(_build_config(targets)))
        argv = [
            find_program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        self._process = Process("prometheus", argv, log=folder / "prometheus.log")
        self._targets = len(targets)
        self._http: aiohttp.ClientSession | None = None
        self.began_s = time.time()

    async def __aenter__(self) -> Self:
        """Start it; returns when it has scraped every target (it takes its time to begin)."""
        await self._process.start()
        self._http = aiohttp.ClientSession(f"http://127.0.0.1:{self._port}")
        await eventually_async(self._is_ready, what="Prometheus to answer", timeout_s=30)
        self.began_s = time.time()
        await eventually_async(self._has_scraped, what="every target to be scraped", timeout_s=60)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill it."""
        assert self._http is not None
        await self._http.close()
        self._process.kill_group()
        await self._process.wait()

    async def _is_ready(self) -> bool:
        assert self._http is not None
        try:
            async with self._http.get("/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def _has_scraped(self) -> bool:
        (up,) = await self.query("sum (up) or vector(0)")
        return int(up["value"][1]) == self._targets

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

    async def _ask(self, path: str, params: Mapping[str, str]) -> Any:
        assert self._http is not None
        async with self._http.get(path, params=params) as response:
            body = await response.json()
        assert body["status"] == "success", (params, body)
        return body["data"]


def _build_config(targets: Sequence[Target]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [
                    {"targets": [f"127.0.0.1:{one.port}"], "labels": dict(one.labels)}
                    for one in targets
                    if one.job == job
                ],
            }
            for job in sorted({target.job for target in targets})
        ],
    }
