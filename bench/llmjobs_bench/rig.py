"""The real processes that a row measures: Valkey, engines, workers, gateways, peers.

All of them end with the row, whatever happens to it. Must not know what is measured.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import psutil

from llmjobs_bench.engine import REQUESTS
from llmjobs_core.names import PoolKey
from llmjobs_core.pools import PoolRegistration
from llmjobs_core.store import JobStore, StoreOptions
from llmjobs_dev.binaries import default_cache_dir
from llmjobs_dev.ports import find_free_ports
from llmjobs_dev.process import Process, ProcessFailedError, die_with_parent
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.waiting import eventually_async

POOL = PoolKey("bench", "scripted")
MODEL = "scripted"
READY_TIMEOUT_S = 60.0
_LOOK_S = 0.02


class Server:
    """One process, and what it has used."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        """Where it listens; 0 where it does not."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def fetch_cpu_s(self) -> float:
        """Return the seconds of CPU that it and its children have used so far."""
        return fetch_cpu_s(self.process.pid)

    async def fetch_requests(self) -> int:
        """Return how many requests it has taken so far, if it is the load engine."""
        async with aiohttp.ClientSession() as session, session.get(self.url + REQUESTS) as answer:
            return int(await answer.read())

    def fetch_memory_mib(self) -> float:
        """Return the memory that it and its children hold and share with nobody (USS), in MiB."""
        return fetch_memory_mib(self.process.pid)


def fetch_cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process and its living children have used."""
    times = [process.cpu_times() for process in _fetch_family(pid)]
    return float(sum(time.user + time.system for time in times))


def fetch_memory_mib(pid: int) -> float:
    """Return the memory that a process and its children hold for themselves alone, in MiB."""
    return float(sum(one.memory_full_info().uss for one in _fetch_family(pid))) / 2**20


def _fetch_family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


class Rig:
    """Starts what it is asked for; ends all of it when left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.valkey = Valkey(folder / "valkey", folder / "valkey.log")
        self._servers: list[Server] = []
        self._store: JobStore | None = None

    async def __aenter__(self) -> Self:
        """Start Valkey (append-only file, fsync each second) and publish the pool."""
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.valkey.start()
        self._store = JobStore.connect(StoreOptions(self.valkey.url))
        await self.publish_pool()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill every process."""
        await self.kill(*self._servers)
        await self.store.close()
        self.valkey.kill()
        await self.valkey.wait()

    @property
    def store(self) -> JobStore:
        """The harness' own way to the store."""
        assert self._store is not None, "the rig is not entered"
        return self._store

    def fetch_valkey_cpu_s(self) -> float:
        """Return the seconds of CPU that Valkey has used so far."""
        return fetch_cpu_s(self.valkey.pid)

    async def publish_pool(self, *, concurrency: int = 64) -> None:
        """Make the pool known, as an operator would."""
        registration = PoolRegistration(key=POOL, models=(MODEL,), concurrency=concurrency)
        await self.store.put_pool(registration)

    async def empty(self) -> None:
        """Empty Valkey, and publish the pool again: each contender begins with nothing."""
        await self.store.client.flushall()
        await self.publish_pool()

    # -- starting -----------------------------------------------------------------------------

    async def add(
        self,
        name: str,
        argv: Sequence[str],
        *,
        port: int = 0,
        env: Mapping[str, str] | None = None,
        python: str = sys.executable,
        cwd: Path | None = None,
    ) -> Server:
        """Start ``PYTHON ARGV``; returns at once, or when it listens if it has a *port*."""
        path = os.pathsep.join(entry for entry in sys.path if entry)
        own = {"PYTHONPATH": path} if python == sys.executable else {}
        process = Process(
            name,
            [python, *argv],
            log=self.folder / f"{name}.log",
            env={**os.environ, **own, **(env or {})},
            cwd=cwd,
        )
        server = Server(process, port)
        self._servers.append(server)
        await process.start()
        if port:
            await wait_listening(server)
        return server

    async def run(self, name: str, argv: Sequence[str], *, python: str = sys.executable) -> str:
        """Run ``PYTHON ARGV`` to its end; returns what it wrote. Raises ProcessFailedError."""
        path = os.pathsep.join(entry for entry in sys.path if entry)
        log = self.folder / f"{name}.log"
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                python,
                *argv,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": path},
                preexec_fn=die_with_parent,
            )
            try:
                output, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
        if process.returncode:
            raise ProcessFailedError(f"{name} ended with status {process.returncode}", log)
        return output.decode()

    async def add_engine(self, *, budget: float = 0.0) -> Server:
        """Start the load engine, with *budget* tokens a second for all streams (0: no limit)."""
        (port,) = find_free_ports(1)
        argv = ["-m", "llmjobs_bench.engine", "--port", str(port), "--budget", str(budget)]
        return await self.add(f"engine-{port}", argv, port=port)

    async def add_llama_engine(self, *, slots: int) -> Server:
        """Start llama.cpp with the real model as the local stack does; returns when it answers."""
        (port,) = find_free_ports(1)
        models = default_cache_dir() / "models"
        argv = ["-m", "llmjobs_dev.llama_engine", "--port", str(port), "--slots", str(slots)]
        server = await self.add(f"llama-{port}", [*argv, "--models-dir", str(models)], port=port)
        await wait_healthy(server)
        return server

    async def add_worker(self, engine: Server, *, concurrency: int, **settings: str) -> Server:
        """Start a worker of *concurrency* slots on *engine*; returns when its slots are known."""
        name = f"worker-{len(self._servers)}"
        others = set(await self._list_workers())
        wanted = {
            "redis_url": self.valkey.url,
            "pool": str(POOL),
            "worker_name": name,
            "engine_url": engine.url,
            "concurrency": str(concurrency),
            "metrics_port": "0",
            **settings,
        }
        server = await self.add(name, ["-m", "llmjobs_worker"], env=build_env(wanted))

        async def are_there() -> bool:
            # By its id: one that was killed a moment ago may still be told of, and then not.
            return bool(set(await self._list_workers()) - others)

        await eventually_async(are_there, what=f"{name}'s slots", timeout_s=READY_TIMEOUT_S)
        return server

    async def add_gateway(self, **settings: str) -> Server:
        """Start one gateway process."""
        (port,) = find_free_ports(1)
        wanted = {
            "redis_url": self.valkey.url,
            "port": str(port),
            "default_namespace": POOL.namespace,
            **settings,
        }
        return await self.add(f"gateway-{port}", ["-m", "llmjobs_api"], port=port,
                              env=build_env(wanted))  # fmt: skip

    async def kill(self, *servers: Server) -> None:
        """SIGKILL some of the processes; returns when they have ended."""
        for server in servers:
            server.process.kill_group()
        await asyncio.gather(*(server.process.wait() for server in servers))
        self._servers = [server for server in self._servers if server not in servers]

    async def _list_workers(self) -> list[str]:
        return [worker.id for worker in await self.store.list_workers()]


def build_env(settings: Mapping[str, str]) -> dict[str, str]:
    """Return llmjobs' settings as variables of the environment."""
    return {f"LLMJOBS_{key.upper()}": value for key, value in settings.items()}


async def wait_listening(server: Server) -> None:
    """Return when *server* takes connections. Raises ProcessFailedError if it ends instead."""
    async with asyncio.timeout(READY_TIMEOUT_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            except OSError:
                if server.process.exit_code is not None:
                    name = server.process.name
                    raise ProcessFailedError(f"{name} ended", server.process.log) from None
                await asyncio.sleep(_LOOK_S)
            else:
                writer.close()
                return


async def wait_healthy(server: Server) -> None:
    """Return when *server* says so at ``/health``: a model takes a while to load."""

    async def is_healthy() -> bool:
        async with session.get(f"{server.url}/health") as answer:
            return answer.status == 200

    async with aiohttp.ClientSession() as session:
        name = server.process.name
        await eventually_async(is_healthy, what=f"{name}'s model", timeout_s=READY_TIMEOUT_S)
