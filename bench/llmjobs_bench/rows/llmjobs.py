"""LLMJobs through a real API server: how fast they are queued, and what they cost it to write."""

import itertools
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed, divide
from llmjobs_bench.plane import JOBS, MERGE, PhaseWatch, Plane, build_namespace
from llmjobs_bench.rig import MODEL, POOL, Rig, Server, fetch_cpu_s
from llmjobs_bench.row import Row, Stage
from llmjobs_core.names import API_VERSION
from llmjobs_testing.waiting import eventually_async

SLOTS = 64
REFERENCE = "reference"
"""A namespace that no operator looks after."""
_GENERATING_S = 12.0
"""How long an engine takes for each request of the measured lives: long enough for the start to be
told apart from the end, and for the finalizer, which shorter jobs never get."""
_WRITTEN = ("llmjobs", "events")
"""What the operator writes for LLMJobs. What it writes for their pool and to keep its Lease is a
matter of time, and not of how many there are."""
_WAIT_S = 120.0
_SETTLE_S = 2.0
"""After the last end the operator may still write for so long: a status is held back for 1 s."""


def build_job_object(name: str, *, delay_s: float = 0.0) -> dict[str, Any]:
    """Return an LLMJob of one token."""
    script = {"tokens": 1, "delay_s": delay_s}
    body = {
        "messages": [{"role": "user", "content": "tell me a long story"}],
        "max_tokens": 1,
        "script": script,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "LLMJob",
        "metadata": {"name": name},
        "spec": {
            "model": MODEL,
            "request": {"endpoint": "/v1/chat/completions", "body": body},
        },
    }


class Lab:
    """One operator, and what is done to it."""

    def __init__(self, stage: Stage, rig: Rig, plane: Plane, operator: Server, engine: Server):
        self._rig = rig
        self._plane = plane
        self._operator = operator
        self._engine = engine
        self._numbers = itertools.count()
        self._count = stage.size(1000, 50)
        self._lives = stage.size(2 * SLOTS, 16)
        self.cpu_ms: dict[str, list[float]] = {"operator": [], "API server": [], "etcd": []}
        """Each one's CPU for each LLMJob until it was Queued, run by run."""

    async def queue(self) -> float:
        """Create LLMJobs at once with no worker about; returns how many a second were Queued."""
        names, creations = self._build(self._count)
        async with PhaseWatch(self._plane) as watch:
            cpu_s, began_s = self._fetch_cpu_s(), time.perf_counter()
            await self._plane.send_all("POST", creations)
            ended_s = await watch.wait_phase("Queued", names, timeout_s=_WAIT_S)
            for name, used_s in self._fetch_cpu_s().items():
                self.cpu_ms[name].append((used_s - cpu_s[name]) / self._count * 1000)
            found = await self._rig.store.count_jobs(POOL.namespace)
            if found != self._count:
                raise SelfCheckFailed(f"{self._count} LLMJobs are {found} jobs in the store")
            await self._delete(watch, names)
        return self._count / (ended_s - began_s)

    def _fetch_cpu_s(self) -> dict[str, float]:
        pids = self._plane.control.pids
        return {
            "operator": self._operator.fetch_cpu_s(),
            "API server": fetch_cpu_s(pids["kube-apiserver"]),
            "etcd": fetch_cpu_s(pids["etcd"]),
        }

    async def create(self) -> float:
        """Create LLMJobs that nobody looks after; returns how many a second."""
        _, creations = self._build(self._count, REFERENCE)
        began_s = time.perf_counter()
        await self._plane.send_all("POST", creations)
        return self._count / (time.perf_counter() - began_s)

    async def create_and_tell(self) -> float:
        """Create LLMJobs and write each one's status; returns how many a second.

        The least that an operator can make of a creation.
        """
        names, creations = self._build(self._count, REFERENCE)
        status = msgspec.json.encode({"status": {"phase": "Queued"}})
        collection = JOBS.replace(POOL.namespace, REFERENCE)
        began_s = time.perf_counter()
        await self._plane.send_all("POST", creations)
        await self._plane.send_all(
            "PATCH", [(f"{collection}/{name}/status", status) for name in names], content_type=MERGE
        )
        return self._count / (time.perf_counter() - began_s)

    async def live(self) -> float:
        """Have LLMJobs run to their end on a worker; returns the operator's writes for each."""
        worker = await self._rig.add_worker(self._engine, concurrency=SLOTS)
        names, creations = self._build(self._lives, delay_s=_GENERATING_S)
        async with PhaseWatch(self._plane) as watch:
            before = await self._plane.count_writes(_WRITTEN)
            await self._plane.send_all("POST", creations)
            await watch.wait_phase("Succeeded", names, timeout_s=_WAIT_S)
            written = await self._count_settled() - before - self._lives
            self._check_lives(watch, names)
            await self._rig.kill(worker)
            await self._delete(watch, names)
        return written / self._lives

    async def _count_settled(self) -> float:
        """Return the writes so far once there are no more of them."""
        written, since_s = -1.0, 0.0

        async def is_settled() -> bool:
            nonlocal written, since_s
            now = await self._plane.count_writes(_WRITTEN)
            if now != written:
                written, since_s = now, time.perf_counter()
            return time.perf_counter() - since_s > _SETTLE_S

        await eventually_async(is_settled, what="the operator to have written all", timeout_s=30)
        return written

    @staticmethod
    def _check_lives(watch: PhaseWatch, names: Sequence[str]) -> None:
        """Raise SelfCheckFailed unless the start of every LLMJob was told, and not only its end."""
        silent = [name for name in names if "Running" not in watch.seen[name]]
        if silent:
            raise SelfCheckFailed(f"{len(silent)} LLMJobs were never seen Running")

    async def _delete(self, watch: PhaseWatch, names: Sequence[str]) -> None:
        """Delete all LLMJobs; raises SelfCheckFailed where the store keeps one."""
        await self._plane.call("DELETE", JOBS)
        await watch.wait_gone(names, timeout_s=_WAIT_S)
        left = await self._rig.store.count_jobs(POOL.namespace)
        if left:
            raise SelfCheckFailed(f"{left} jobs are in the store without their LLMJobs")

    def _build(
        self, count: int, namespace: str = POOL.namespace, *, delay_s: float = 0.0
    ) -> tuple[list[str], list[tuple[str, bytes]]]:
        """Return new names, and the creation of each."""
        run = next(self._numbers)
        names = [f"job-{run}-{number}" for number in range(count)]
        path = JOBS.replace(POOL.namespace, namespace)
        bodies = (msgspec.json.encode(build_job_object(name, delay_s=delay_s)) for name in names)
        return names, [(path, body) for body in bodies]


async def measure(stage: Stage) -> Sequence[Figure]:
    """Queue LLMJobs, and let some live, beside what a bare client writes."""
    async with Rig(stage.folder) as rig, Plane(rig) as plane:
        await plane.call("POST", "/api/v1/namespaces", build_namespace(REFERENCE))
        engine = await rig.add_engine()
        operator = await plane.add_leading_operator()
        lab = Lab(stage, rig, plane, operator, engine)
        taken = await stage.alternate(
            {
                "queue": lab.queue,
                "create": lab.create,
                "create and tell": lab.create_and_tell,
                "live": lab.live,
            }
        )
    return [
        Figure("queued", taken["queue"], "LLMJobs/s", Bound(at_least=150)),
        Figure("writes in a life", taken["live"], bound=Bound(at_most=4)),
        Figure("of bare creations with a status", divide(taken["queue"], taken["create and tell"])),
        Figure("bare creations", taken["create"], "LLMJobs/s"),
        Figure("bare creations with a status", taken["create and tell"], "LLMJobs/s"),
        *(Figure(f"{name}'s CPU for each", used, "ms") for name, used in lab.cpu_ms.items()),
    ]


LLMJOBS = Row(
    "llmjobs",
    "1,000 LLMJobs created at once, from the first creation to the last `Queued` that a watch "
    "tells of; and the operator's writes from an LLMJob's creation to its end on a worker",
    measure,
)
