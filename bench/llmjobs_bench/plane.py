"""A row's control plane: etcd, an API server, and operators with the rights of the chart.

Controllers and scheduler stay out: no pod is part of these rows, and what they wrote would be
counted. The harness talks to the API server by plain HTTPS with many connections, so that it costs
less than what it measures. Must not know what is measured.
"""

import asyncio
import base64
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from llmjobs_bench.figures import SelfCheckFailed
from llmjobs_bench.rig import MODEL, POOL, READY_TIMEOUT_S, Rig, Server, build_env
from llmjobs_core.names import API_VERSION
from llmjobs_dev.binaries import fetch_binaries
from llmjobs_dev.control_plane import ADMINS, ControlPlane
from llmjobs_dev.ports import find_free_ports
from llmjobs_testing.operators import USER, install
from llmjobs_testing.waiting import eventually_async

CONNECTIONS = 32
JOBS = f"/apis/{API_VERSION}/namespaces/{POOL.namespace}/llmjobs"
POOLS = f"/apis/{API_VERSION}/namespaces/{POOL.namespace}/llmworkerpools"
MERGE = "application/merge-patch+json"
_WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE"}
_SAMPLE = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_ETCD_BATCH = 100
"""Writes in one transaction of etcd, which takes 128."""


class Plane:
    """An API server, the harness' way to it, and the operators started on it."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._session: aiohttp.ClientSession | None = None
        self._control: ControlPlane | None = None
        self._operators = 0

    async def __aenter__(self) -> Self:
        """Start it, with the CRDs, the operator's rights, the namespace and the pool."""
        self._control = ControlPlane(
            await fetch_binaries(print), self._rig.folder / "plane", with_controllers=False
        )
        await self._control.start()
        await asyncio.to_thread(install, self._control)
        admin = self._control.authority.issue("bench", user="llmjobs-bench", groups=(ADMINS,))
        context = ssl.create_default_context(cafile=str(self._control.authority.certificate))
        context.load_cert_chain(admin.certificate, admin.key)
        self._session = aiohttp.ClientSession(
            self._control.server,
            connector=aiohttp.TCPConnector(ssl=context, limit=CONNECTIONS + 8),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )
        await self.call("POST", "/api/v1/namespaces", build_namespace(POOL.namespace))
        await self.call("POST", POOLS, build_pool_object())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it; the operators are the rig's to kill."""
        if self._session is not None:
            await self._session.close()
        if self._control is not None:
            await self._control.stop()

    @property
    def control(self) -> ControlPlane:
        """The programs behind it."""
        assert self._control is not None, "the plane is not entered"
        return self._control

    @property
    def session(self) -> aiohttp.ClientSession:
        """The harness' connections, with an administrator's rights."""
        assert self._session is not None, "the plane is not entered"
        return self._session

    # -- operators ----------------------------------------------------------------------------

    async def add_operator(self, **settings: str) -> Server:
        """Start an operator for the pool's namespace; returns when its port listens."""
        (port,) = find_free_ports(1)
        name = f"operator-{self._operators}"
        self._operators += 1
        wanted = {
            "redis_url": self._rig.valkey.url,
            "metrics_port": str(port),
            "identity": name,
            "namespaces": POOL.namespace,
            "lease_namespace": POOL.namespace,
            **settings,
        }
        config = self.control.kubeconfig_for("operator", user=USER)
        env = {**build_env(wanted), "KUBECONFIG": str(config)}
        return await self._rig.add(name, ["-m", "llmjobs_operator"], port=port, env=env)

    async def add_leading_operator(self, **settings: str) -> Server:
        """Start an operator; returns when it leads, and has made the pool known."""
        operator = await self.add_operator(**settings)

        async def is_leading() -> bool:
            return await self.read_metric(operator, "llmjobs_operator_leading") == 1.0

        await eventually_async(is_leading, what="the operator to lead", timeout_s=READY_TIMEOUT_S)

        async def is_known() -> bool:
            return (POOLS, POOL.name) in await self._list_ready_pools()

        await eventually_async(is_known, what="the pool's status", timeout_s=READY_TIMEOUT_S)
        return operator

    async def _list_ready_pools(self) -> set[tuple[str, str]]:
        found = await self.call("GET", POOLS)
        return {(POOLS, pool["metadata"]["name"]) for pool in found["items"] if pool.get("status")}

    async def read_metric(self, operator: Server, sample: str) -> float:
        """Return one sample of an operator's metrics by its full name; 0 where it is not there."""
        async with aiohttp.ClientSession() as session, session.get(
            f"{operator.url}/metrics"
        ) as page:  # fmt: skip
            text = await page.text()
        for line in text.splitlines():
            if line.startswith(f"{sample} "):
                return float(line.split()[-1])
        return 0.0

    # -- the API server -----------------------------------------------------------------------

    async def call(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """Make one call; raises SelfCheckFailed where it is refused."""
        data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        headers = {"Content-Type": content_type}
        async with self.session.request(method, path, data=data, headers=headers) as response:
            answer = await response.read()
        if response.status >= 300:
            raise SelfCheckFailed(f"{method} {path}: {response.status} {answer[:300]!r}")
        return msgspec.json.decode(answer)  # type: ignore[no-any-return]

    async def send_all(
        self,
        method: str,
        requests: Iterable[tuple[str, bytes]],
        *,
        content_type: str = "application/json",
    ) -> None:
        """Make a call with each path and body, over all connections, and read none of the answers.

        Raises SelfCheckFailed where one is refused.
        """
        waiting = iter(requests)
        headers = {"Content-Type": content_type}

        async def send_some() -> None:
            for path, data in waiting:
                async with self.session.request(
                    method, path, data=data, headers=headers
                ) as response:
                    if response.status >= 300:
                        said = await response.text()
                        raise SelfCheckFailed(f"{method} {path}: {response.status} {said[:300]}")

        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(send_some())

    async def fetch_version(self, collection: str) -> str:
        """Return the resource version that *collection* has now, for a watch to begin at."""
        listed = await self.call("GET", f"{collection}?limit=1")
        return str(listed["metadata"]["resourceVersion"])

    async def watch(self, collection: str, version: str) -> AsyncIterator["WatchEvent"]:
        """Yield what happened in *collection* since *version*, for as long as it is asked."""
        path = f"{collection}?watch=1&resourceVersion={version}"
        async with self.session.get(path) as response:
            rest = b""
            async for data in response.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield _EVENT.decode(line)

    async def count_writes(self, resources: Sequence[str]) -> float:
        """Return how many writes of *resources* the API server has taken so far, by whomever."""
        async with self.session.get("/metrics") as page:
            text = await page.text()
        total = 0.0
        for line in text.splitlines():
            sample = _SAMPLE.match(line)
            if sample is None:
                continue
            labels = dict(_LABEL.findall(sample[1]))
            if labels["resource"] in resources and labels["verb"] in _WRITES:
                total += float(sample[2])
        return total

    # -- etcd ---------------------------------------------------------------------------------

    async def read_stored(self, key: str) -> bytes:
        """Return the value that the API server keeps under *key* in etcd."""
        found = await self._call_etcd("range", {"key": _base64(key.encode())})
        return base64.b64decode(found["kvs"][0]["value"])

    async def store_all(self, values: Iterable[tuple[str, bytes]]) -> None:
        """Write values past the API server, in many at a time; its watches see them."""
        puts = [
            {"requestPut": {"key": _base64(key.encode()), "value": _base64(value)}}
            for key, value in values
        ]
        for at in range(0, len(puts), _ETCD_BATCH):
            await self._call_etcd("txn", {"success": puts[at : at + _ETCD_BATCH]})

    async def _call_etcd(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.post(
            f"{self.control.etcd_url}/v3/kv/{what}", data=msgspec.json.encode(body)
        ) as response:  # fmt: skip
            answer = await response.read()
            if response.status >= 300:
                raise SelfCheckFailed(f"etcd {what}: {response.status} {answer[:300]!r}")
            return msgspec.json.decode(answer)  # type: ignore[no-any-return]


class Seen(msgspec.Struct):
    """What of an object's metadata rows look at."""

    name: str = ""
    version: str = msgspec.field(default="", name="resourceVersion")


class SeenStatus(msgspec.Struct):
    """What of an LLMJob's status rows look at."""

    phase: str = ""


class SeenObject(msgspec.Struct):
    """An LLMJob as a row's watch sees it: decoded no further than needed."""

    metadata: Seen = msgspec.field(default_factory=Seen)
    status: SeenStatus = msgspec.field(default_factory=SeenStatus)


class WatchEvent(msgspec.Struct):
    """One event of a watch."""

    type: str
    object: SeenObject


_EVENT = msgspec.json.Decoder(WatchEvent)


class PhaseWatch:
    """Follows the LLMJobs of the pool's namespace by a watch, and counts them by phase."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.phases: dict[str, str] = {}
        """Of every LLMJob that was told of and is still there."""
        self.seen: dict[str, set[str]] = {}
        """Every phase that an LLMJob was ever seen in."""
        self.changed_s = 0.0
        """When the last event came, on the clock of ``perf_counter``."""

    async def __aenter__(self) -> Self:
        """Begin to follow."""
        version = await self._plane.fetch_version(JOBS)
        self._task = asyncio.create_task(self._follow(version))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Follow no more."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, version: str) -> None:
        # The API server ends a watch whose reader falls behind; it goes on where it was.
        while True:
            async for event in self._plane.watch(JOBS, version):
                if event.type == "ERROR":
                    raise SelfCheckFailed("the watch was refused: events may have been missed")
                version = event.object.metadata.version
                self._take(event)

    def _take(self, event: WatchEvent) -> None:
        name = event.object.metadata.name
        if event.type == "DELETED":
            self.phases.pop(name, None)
        else:
            self.phases[name] = event.object.status.phase
            self.seen.setdefault(name, set()).add(event.object.status.phase)
        self.changed_s = time.perf_counter()
        self._changed.set()

    async def wait_phase(self, phase: str, names: Sequence[str], *, timeout_s: float) -> float:
        """Return when all of *names* are in *phase*: the time of the event that told the last."""
        return await self._wait(
            lambda: all(self.phases.get(name) == phase for name in names),
            f"{len(names)} LLMJobs to be {phase}",
            timeout_s,
        )

    async def wait_gone(self, names: Sequence[str], *, timeout_s: float) -> float:
        """Return when none of *names* is there: the time of the event that told the last."""
        return await self._wait(
            lambda: not any(name in self.phases for name in names),
            f"{len(names)} LLMJobs to go",
            timeout_s,
        )

    async def _wait(self, check: Any, what: str, timeout_s: float) -> float:
        try:
            async with asyncio.timeout(timeout_s):
                while not check():
                    assert self._task is not None
                    if self._task.done():
                        raise SelfCheckFailed(f"the watch ended: {self._task.exception()}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise SelfCheckFailed(f"not within {timeout_s} s: {what}") from None
        return self.changed_s


def build_namespace(name: str) -> dict[str, Any]:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def build_pool_object() -> dict[str, Any]:
    """Return the rows' pool as an LLMWorkerPool."""
    return {
        "apiVersion": API_VERSION,
        "kind": "LLMWorkerPool",
        "metadata": {"name": POOL.name},
        "spec": {
            "models": [MODEL],
            "engine": {"external": {"baseURL": "http://engine.invalid"}},
            "concurrency": 64,
            "scaling": {"maxReplicas": 1},
        },
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
