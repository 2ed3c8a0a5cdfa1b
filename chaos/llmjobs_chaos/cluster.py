"""The real processes of one scenario: a Redis, engines, workers, gateways, operators.

All of them end with the suite, whatever happens to it. Every one that talks to Redis does so
through a proxy of ours where the scenario asked for one. Must not know what is wrong or right.
"""

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from llmjobs_core.names import PoolKey
from llmjobs_core.pools import PoolRegistration
from llmjobs_core.store import JobStore, StoreOptions
from llmjobs_dev.binaries import fetch_binaries
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.ports import find_free_ports
from llmjobs_dev.process import Process
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.engine_journal import Entry, read_journal
from llmjobs_testing.operators import USER
from llmjobs_testing.tcp_proxy import TcpProxy
from llmjobs_testing.waiting import eventually, eventually_async

POOL = PoolKey("chaos", "scripted")
MODEL = "scripted"
READY_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Server:
    """One process that can be struck and started again, at the same address."""

    process: Process
    port: int
    """Where it listens; 0 for a worker."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        return self.process.name

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process.pid != 0 and self.process.exit_code is None

    async def kill(self) -> None:
        """SIGKILL it; returns when it has ended."""
        self.process.kill_group()
        await self.process.wait()

    async def restart(self) -> None:
        """Start it again if it does not run."""
        if not self.is_running:
            await self.process.start()


@dataclass(slots=True)
class Engine(Server):
    """A scripted engine with its journal."""

    journal: Path = Path()

    def read(self) -> list[Entry]:
        """Return every request it ever saw."""
        return read_journal(self.journal)


@dataclass(slots=True)
class Worker(Server):
    """A worker and the engine it stands beside."""

    engine: Engine = field(kw_only=True)


class Cluster:
    """Starts what it is asked for; ends all of it when left."""

    def __init__(self, folder: Path, *, with_plane: bool = False, proxied: bool = False) -> None:
        """*with_plane* starts a control plane, whose operator is then to publish the pool."""
        self.folder = folder
        self.valkey = Valkey(folder / "valkey", folder / "valkey.log")
        self.proxy: TcpProxy | None = None
        self.plane: ControlPlane | None = None
        self.engines: list[Engine] = []
        self.workers: list[Worker] = []
        self.gateways: list[Server] = []
        self.operators: list[Server] = []
        self.exporters: list[Server] = []
        self._is_proxied = proxied
        self._with_plane = with_plane
        self._store: JobStore | None = None

    async def __aenter__(self) -> Self:
        """Start Redis and, unless an operator will, publish the pool."""
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.valkey.start()
        if self._is_proxied:
            self.proxy = TcpProxy("127.0.0.1", self.valkey.port)
            await self.proxy.start()
        self._store = JobStore.connect(StoreOptions(self.valkey.url))
        if self._with_plane:
            self.plane = ControlPlane(await fetch_binaries(print), self.folder / "plane")
            await self.plane.start()
        else:
            await self.store.put_pool(PoolRegistration(key=POOL, models=(MODEL,), concurrency=8))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill every process."""
        fronts = (*self.operators, *self.gateways, *self.exporters)
        servers = (*fronts, *self.workers, *self.engines)
        for server in servers:
            server.process.kill_group()
        await asyncio.gather(*(server.process.wait() for server in servers))
        await self.store.close()
        if self.proxy is not None:
            await self.proxy.stop()
        if self.plane is not None:
            await self.plane.stop()
        self.valkey.kill()
        await self.valkey.wait()

    @property
    def store(self) -> JobStore:
        """The suite's own way to the store, past the proxy."""
        assert self._store is not None, "the cluster is not entered"
        return self._store

    @property
    def redis_url(self) -> str:
        """The address that the processes know Redis by."""
        port = self.valkey.port if self.proxy is None else self.proxy.port
        return f"redis://127.0.0.1:{port}/0"

    # -- starting -----------------------------------------------------------------------------

    async def add_engine(self) -> Engine:
        """Start an engine; its requests carry their own scripts."""
        (port,) = find_free_ports(1)
        name = f"engine-{len(self.engines)}"
        journal = self.folder / f"{name}.jsonl"
        argv = ["-m", "llmjobs_testing.engine", "--port", str(port), "--journal", str(journal)]
        engine = Engine(self._build(name, argv, {}), port, journal)
        self.engines.append(engine)
        await engine.process.start()
        return engine

    async def add_worker(
        self, *, concurrency: int = 8, engine: Engine | None = None, **settings: str
    ) -> Worker:
        """Start a worker beside *engine*, or beside an engine of its own."""
        engine = engine or await self.add_engine()
        name = f"worker-{len(self.workers)}"
        wanted = {
            "pool": str(POOL),
            "worker_name": name,
            "engine_url": engine.url,
            "concurrency": str(concurrency),
            "metrics_port": "0",
            "retry_base_ms": "100",
            **settings,
        }
        worker = Worker(self._build(name, ["-m", "llmjobs_worker"], wanted), 0, engine=engine)
        self.workers.append(worker)
        await worker.process.start()
        return worker

    async def add_gateway(self) -> Server:
        """Start a gateway; returns when it answers."""
        (port,) = find_free_ports(1)
        name = f"gateway-{len(self.gateways)}"
        settings = {"port": str(port), "default_namespace": POOL.namespace}
        gateway = Server(self._build(name, ["-m", "llmjobs_api"], settings), port)
        self.gateways.append(gateway)
        await gateway.process.start()
        await eventually_async(
            lambda: is_listening(port), what=f"{name} to answer", timeout_s=READY_TIMEOUT_S
        )
        return gateway

    async def add_exporter(self) -> Server:
        """Start an exporter; it may not answer yet."""
        (port,) = find_free_ports(1)
        name = f"exporter-{len(self.exporters)}"
        process = self._build(name, ["-m", "llmjobs_api.exporter"], {"port": str(port)})
        exporter = Server(process, port)
        self.exporters.append(exporter)
        await process.start()
        return exporter

    async def add_operator(self) -> Server:
        """Start an operator for the pool's namespace; it may not lead yet."""
        assert self.plane is not None, "an operator needs a control plane"
        (port,) = find_free_ports(1)
        name = f"operator-{len(self.operators)}"
        settings = {
            "metrics_port": str(port),
            "identity": name,
            "namespaces": POOL.namespace,
            "lease_namespace": POOL.namespace,
        }
        config = self.plane.kubeconfig_for("operator", user=USER)
        process = self._build(
            name, ["-m", "llmjobs_operator"], settings, {"KUBECONFIG": str(config)}
        )
        operator = Server(process, port)
        self.operators.append(operator)
        await process.start()
        return operator

    def _build(
        self,
        name: str,
        argv: list[str],
        settings: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        ours = {f"LLMJOBS_{key.upper()}": value for key, value in settings.items()}
        ours["LLMJOBS_REDIS_URL"] = self.redis_url
        path = os.pathsep.join(entry for entry in sys.path if entry)
        return Process(
            name,
            [sys.executable, *argv],
            log=self.folder / f"{name}.log",
            env={**os.environ, "PYTHONPATH": path, **(environment or {}), **ours},
        )

    # -- waiting and striking -----------------------------------------------------------------

    async def wait_slots(self, count: int) -> None:
        """Return when the living workers offer *count* slots or more."""

        async def are_there() -> bool:
            return sum(worker.slots for worker in await self.store.list_workers()) >= count

        await eventually_async(are_there, what=f"{count} slots", timeout_s=READY_TIMEOUT_S)

    async def wait_open(self, users: set[str]) -> None:
        """Return when a request of each of *users* is open at an engine."""
        await eventually(
            lambda: users <= open_users(self.read_journals(), time.time()),
            what=f"{len(users)} requests at the engines",
            timeout_s=READY_TIMEOUT_S,
        )

    async def wait_requests(self, count: int) -> None:
        """Return when the engines have seen *count* requests."""
        await eventually(
            lambda: len(self.read_journals()) >= count,
            what=f"{count} requests at the engines",
            timeout_s=READY_TIMEOUT_S,
        )

    async def crash_redis(self, *, down_s: float) -> None:
        """SIGKILL Redis and start it again on its append-only file."""
        self.valkey.kill()
        await self.valkey.wait()
        await asyncio.sleep(down_s)
        await self.valkey.start()

    def read_journals(self) -> list[Entry]:
        """Return what all engines saw, in the order it opened."""
        entries = [entry for engine in self.engines for entry in engine.read()]
        return sorted(entries, key=lambda entry: entry.opened_s)


async def is_listening(port: int) -> bool:
    """Whether something takes connections there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def open_users(entries: list[Entry], at_s: float, until_s: float | None = None) -> set[str]:
    """Return whose requests were open at an engine then, or at any time until *until_s*."""
    return {
        entry.user
        for entry in entries
        if entry.opened_s <= (until_s or at_s)
        and (entry.closed_s is None or entry.closed_s >= at_s)
    }
