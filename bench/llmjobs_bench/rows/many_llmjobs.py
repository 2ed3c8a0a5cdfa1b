"""An operator that looks after very many LLMJobs: what it holds, what it costs, how it starts."""

import asyncio
import itertools
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed
from llmjobs_bench.plane import JOBS, MERGE, PhaseWatch, Plane
from llmjobs_bench.rig import MODEL, POOL, Rig, Server
from llmjobs_bench.row import Row, Stage
from llmjobs_bench.rows.llmjobs import SLOTS, build_job_object
from llmjobs_core.explain import explain_waiting
from llmjobs_core.jobs import JobRecord
from llmjobs_core.resources import build_new_job, owned_job_id, parse_llmjob
from llmjobs_core.resources.common import ObjectMeta
from llmjobs_core.states import JobState
from llmjobs_operator.job_status import build_job_status
from llmjobs_testing.waiting import eventually_async

_STORED = f"/registry/llmjobs.dev/llmjobs/{POOL.namespace}"
"""Where the API server keeps the LLMJobs of the pool's namespace in etcd."""
_SUBMITTERS = 32
_READ = 500
"""Records in one reading."""
_RESTARTS = 3
_IDLE_S = 30.0
"""How long idleness is measured: as long as from one resync to the next, so it has one in it."""
_WAIT_S = 240.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start of the operator and the idle time after it."""

    in_sync_s: float
    idle_share: float
    """CPU seconds a second."""
    memory_mib: float


class Crowd:
    """The LLMJobs, ended and live, as objects and as jobs."""

    def __init__(self, rig: Rig, plane: Plane, ended: int, live: int) -> None:
        self._rig = rig
        self._plane = plane
        self._ended = ended
        self._live = live

    async def set_up(self) -> None:
        """Have them all there, with no operator running at the end.

        The ended ones are run by a real worker; their objects are copies of one that the operator
        looked after to its end, each with the status of its own job, and are written to etcd: the
        API server would take a minute for as many. The live ones are as their creation leaves them.
        """
        worker = await self._rig.add_worker(await self._rig.add_engine(), concurrency=SLOTS)
        operator = await self._plane.add_leading_operator()
        ended = await self._fetch_ended_object()
        await self._rig.kill(operator)
        copies = [build_copy(ended, f"ended-{number}") for number in range(self._ended)]
        await self._run_jobs(copies)
        await self._rig.kill(worker)
        for at in range(0, len(copies), _READ):
            some = copies[at : at + _READ]
            ids = [owned_job_id(ObjectMeta.model_validate(copy["metadata"])) for copy in some]
            for copy, record in zip(some, await self._rig.store.fetch_many(ids), strict=True):
                copy["status"] = build_ended_status(copy, record)
        live = [build_copy(build_new_object(ended), f"live-{n}") for n in range(self._live)]
        await self._plane.store_all(
            (f"{_STORED}/{copy['metadata']['name']}", msgspec.json.encode(copy))
            for copy in itertools.chain(copies, live)
        )

    async def _fetch_ended_object(self) -> dict[str, Any]:
        """Return an LLMJob as the API server keeps it after the operator has seen it end."""
        async with PhaseWatch(self._plane) as watch:
            await self._plane.call("POST", JOBS, build_job_object("first"))
            await watch.wait_phase("Succeeded", ["first"], timeout_s=60)
        found: dict[str, Any] = msgspec.json.decode(
            await self._plane.read_stored(f"{_STORED}/first")
        )
        return found

    async def _run_jobs(self, copies: Sequence[dict[str, Any]]) -> None:
        """Submit the jobs of *copies* as the operator would; returns when they have ended."""
        store, waiting = self._rig.store, iter(copies)

        async def submit_some() -> None:
            for copy in waiting:
                await store.submit(build_new_job(parse_llmjob(copy), POOL, MODEL))

        await asyncio.gather(*(submit_some() for _ in range(_SUBMITTERS)))

        async def have_ended() -> bool:
            await asyncio.sleep(0.2)
            ended = await store.count_jobs(POOL.namespace, state=JobState.SUCCEEDED)
            return ended == len(copies) + 1

        await eventually_async(have_ended, what="the jobs to end", timeout_s=_WAIT_S)


def build_copy(like: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an LLMJob as *like*, with a name and a UID of its own."""
    metadata = like["metadata"] | {"name": name, "uid": str(uuid.uuid4())}
    return like | {"metadata": metadata}


def build_new_object(ended: dict[str, Any]) -> dict[str, Any]:
    """Return *ended* as its creation left it."""
    metadata = {name: part for name, part in ended["metadata"].items() if name != "finalizers"}
    metadata["managedFields"] = [
        entry
        for entry in metadata["managedFields"]
        if entry.get("subresource") != "status" and "f:metadata" not in entry["fieldsV1"]
    ]
    return {name: part for name, part in ended.items() if name != "status"} | {"metadata": metadata}


def build_ended_status(copy: dict[str, Any], record: JobRecord | None) -> dict[str, Any]:
    """Return the status that the operator writes at the end of the job of *copy*."""
    if record is None or record.state is not JobState.SUCCEEDED:
        raise SelfCheckFailed(f"a job did not succeed: {record and record.message}")
    return build_job_status(
        copy["status"],
        record,
        explain_waiting(record, None, None, 0),
        preview=copy["status"]["preview"],
        generation=copy["metadata"]["generation"],
        now_ms=record.finished_ms or 0,
    )


class Lab:
    """Starts operators on the crowd, one after the other."""

    def __init__(self, stage: Stage, rig: Rig, plane: Plane, live: int) -> None:
        self._rig = rig
        self._plane = plane
        self._idle_s = _IDLE_S if not stage.is_quick else 3.0
        self._say = stage.say
        self._victims = (f"live-{number}" for number in range(live))
        self._numbers = itertools.count()

    async def start_first(self) -> Server:
        """Start the operator that takes up the live LLMJobs; returns when nothing is left to do."""
        async with PhaseWatch(self._plane) as watch:
            operator = await self._plane.add_operator()
            await self._wait_in_sync(operator)
            missing = await self._count_live() - len(
                [name for name, phase in watch.phases.items() if phase == "Queued"]
            )
        if missing:
            raise SelfCheckFailed(f"{missing} live LLMJobs are not Queued")
        return operator

    async def restart(self, operator: Server) -> tuple[Server, Start]:
        """Kill *operator*, change what it looks after, and start another.

        In sync is one that has taken up all that changed, compared everything with the API server,
        and has nothing left to do.
        """
        await self._rig.kill(operator)
        new, cancelled, deleted, ended = (
            f"new-{next(self._numbers)}", *itertools.islice(self._victims, 3),
        )  # fmt: skip
        job_id = (await self._plane.call("GET", f"{JOBS}/{ended}"))["status"]["jobId"]
        async with PhaseWatch(self._plane) as watch:
            await self._plane.call("POST", JOBS, build_job_object(new))
            wish = {"spec": {"cancel": True}}
            await self._plane.call("PATCH", f"{JOBS}/{cancelled}", wish, content_type=MERGE)
            await self._plane.call("DELETE", f"{JOBS}/{deleted}")
            await self._rig.store.cancel(job_id, "cancelled while no operator was there")
            began_s = time.perf_counter()
            operator = await self._plane.add_operator()
            await watch.wait_phase("Queued", [new], timeout_s=_WAIT_S)
            await watch.wait_phase("Cancelled", [cancelled, ended], timeout_s=_WAIT_S)
            await watch.wait_gone([deleted], timeout_s=_WAIT_S)
            await self._wait_in_sync(operator)
            in_sync_s = time.perf_counter() - began_s
        await asyncio.sleep(2)
        cpu_s, began_s = operator.fetch_cpu_s(), time.perf_counter()
        await asyncio.sleep(self._idle_s)
        share = (operator.fetch_cpu_s() - cpu_s) / (time.perf_counter() - began_s)
        start = Start(in_sync_s, share, operator.fetch_memory_mib())
        self._say(
            f"in sync in {in_sync_s:.1f} s, {share:.1%} of a core, {start.memory_mib:.0f} MiB"
        )
        return operator, start

    async def list_all(self) -> float:
        """List every LLMJob in pages, as Kopf does, and decode them; returns the seconds."""
        began_s, token = time.perf_counter(), ""
        while True:
            page = await self._plane.call("GET", f"{JOBS}?limit={_READ}&continue={token}")
            token = page["metadata"].get("continue", "")
            if not token:
                return time.perf_counter() - began_s

    async def _wait_in_sync(self, operator: Server) -> None:
        async def is_in_sync() -> bool:
            await asyncio.sleep(0.1)
            audits = await self._plane.read_metric(operator, "llmjobs_operator_audits_total")
            due = await self._plane.read_metric(operator, "llmjobs_operator_due_objects")
            return audits > 0 and due == 0

        await eventually_async(is_in_sync, what="the operator to be in sync", timeout_s=_WAIT_S)

    async def _count_live(self) -> int:
        return await self._rig.store.count_jobs(POOL.namespace, state=JobState.QUEUED)


async def measure(stage: Stage) -> Sequence[Figure]:
    """Start operators on a crowd of LLMJobs, and leave them alone."""
    ended, live = stage.size(20_000, 300), stage.size(2_000, 60)
    async with Rig(stage.folder) as rig, Plane(rig) as plane:
        began_s = time.perf_counter()
        await Crowd(rig, plane, ended, live).set_up()
        stage.say(f"set up in {time.perf_counter() - began_s:.0f} s")
        lab = Lab(stage, rig, plane, live)
        operator = await lab.start_first()
        starts: list[Start] = []
        listed: list[float] = []
        for _ in range(min(stage.runs, _RESTARTS)):
            listed.append(await lab.list_all())
            operator, start = await lab.restart(operator)
            starts.append(start)
    return [
        Figure("memory", [start.memory_mib for start in starts], "MiB", Bound(at_most=400)),
        Figure(
            "idle", [start.idle_share * 100 for start in starts], "% of a core", Bound(at_most=5)
        ),
        Figure("in sync", [start.in_sync_s for start in starts], "s", Bound(at_most=60)),
        Figure("a bare client lists them all", listed, "s"),
    ]


MANY = Row(
    "many-llmjobs",
    "20,000 finished and 2,000 live LLMJobs: the operator's memory (USS), its CPU with nothing to "
    "do, and a kill and start until it is in sync, with what changed meanwhile taken up",
    measure,
)
