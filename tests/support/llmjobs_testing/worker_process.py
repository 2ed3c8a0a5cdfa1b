"""A real worker as a process of its own, for tests that start, stop and kill it."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Self

import aiohttp

from llmjobs_testing.waiting import eventually_async


class WorkerProcess:
    """One ``llmjobs-worker``; killed when the test leaves it, whatever happened."""

    def __init__(
        self, redis_url: str, engine_url: str, log: Path, *, pool: str, **settings: str
    ) -> None:
        """*settings* are added to the environment as ``LLMJOBS_`` and the name in capitals."""
        self.log = log
        wanted = {
            "redis_url": redis_url,
            "engine_url": engine_url,
            "pool": pool,
            "metrics_port": "0",
            "worker_name": log.stem,
            "retry_base_ms": "50",
            **settings,
        }
        self._env = {**os.environ} | {f"LLMJOBS_{k.upper()}": v for k, v in wanted.items()}
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start the process; it may not be ready yet."""
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "llmjobs_worker",
                env=self._env,
                stdout=log,
                stderr=log,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill what is left of it."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process, once started."""
        assert self._process is not None
        return self._process

    def send(self, signum: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(signum)

    async def wait_ended(self, timeout_s: float = 30.0) -> int:
        """Return its exit code once it has ended."""
        async with asyncio.timeout(timeout_s):
            return await self.process.wait()

    def logged(self, event: str) -> int:
        """Return how often it logged *event*."""
        return self.log.read_text().count(f'"event": "{event}"')

    async def wait_logged(self, event: str) -> None:
        """Wait until it has logged *event*."""

        async def has_logged() -> bool:
            assert self.process.returncode is None, self.log.read_text()
            return self.logged(event) > 0

        await eventually_async(has_logged, what=f"{event} in {self.log.name}", timeout_s=60)

    async def probe(self, path: str) -> tuple[int, str]:
        """GET *path* of its probe server."""
        await self.wait_logged("worker_started")
        line = next(x for x in self.log.read_text().splitlines() if "worker_started" in x)
        port = line.partition('"probes_port": ')[2].partition(",")[0].rstrip("}")
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}") as response,
        ):
            return response.status, await response.text()
