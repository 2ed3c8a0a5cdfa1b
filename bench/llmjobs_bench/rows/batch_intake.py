"""A batch of 50,000 lines, uploaded: how fast it is taken, and what the gateway holds meanwhile."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed, divide
from llmjobs_bench.http_load import Load
from llmjobs_bench.rig import POOL, Rig, Server
from llmjobs_bench.row import Row, Stage
from llmjobs_bench.rows.submissions import add_bare, post_on
from llmjobs_bench.upload import build_line_body
from llmjobs_core.states import JobState

_SAMPLE_S = 0.02


@dataclass(frozen=True, slots=True)
class Uploaded:
    """One upload."""

    took_s: float
    mib_per_s: float
    growth_mib: float


async def measure(stage: Stage) -> Sequence[Figure]:
    """Upload to a gateway that was just started, and to a route that discards."""
    lines = stage.size(50_000, 2_000)
    async with Rig(stage.folder) as rig:
        bare = await add_bare(rig)

        async def ours() -> Uploaded:
            await rig.empty()
            gateway = await rig.add_gateway()
            try:
                return await upload_ours(rig, gateway, lines)
            finally:
                await rig.kill(gateway)

        async def discard() -> Uploaded:
            outcome = await upload(rig, bare, "/stream", lines)
            if json.loads(outcome["answer"])["bytes"] != outcome["bytes"]:
                raise SelfCheckFailed(f"the reference did not read it all: {outcome}")
            return build_uploaded(outcome, 0.0)

        taken = await stage.alternate({"ours": ours, "bare": discard})
    rates = {name: [lines / one.took_s for one in all_] for name, all_ in taken.items()}
    return [
        Figure("accepted", rates["ours"], "lines/s", Bound(at_least=10_000)),
        Figure(
            "gateway growth", [one.growth_mib for one in taken["ours"]], "MiB", Bound(at_most=64)
        ),
        Figure("of reading and discarding", divide(rates["ours"], rates["bare"])),
        Figure("read and discarded", rates["bare"], "lines/s"),
        Figure("accepted, in bytes", [one.mib_per_s for one in taken["ours"]], "MiB/s"),
    ]


async def upload(rig: Rig, server: Server, path: str, lines: int) -> dict[str, Any]:
    """Upload the batch; raises SelfCheckFailed unless it was accepted."""
    argv = ["-m", "llmjobs_bench.upload", str(server.port), path, str(lines)]
    outcome: dict[str, Any] = json.loads(await rig.run("upload", argv))
    if outcome["status"] != 202:
        raise SelfCheckFailed(f"the batch was answered by {outcome['status']}")
    return outcome


def build_uploaded(outcome: dict[str, Any], growth_mib: float) -> Uploaded:
    """Return an upload's figures."""
    took_s = outcome["took_s"]
    return Uploaded(took_s, outcome["bytes"] / took_s / 2**20, growth_mib)


async def upload_ours(rig: Rig, gateway: Server, lines: int) -> Uploaded:
    """Upload to the gateway while its memory is watched; raises SelfCheckFailed."""
    warm_up: Load = await post_on(rig, gateway, 0.1)
    before_mib = gateway.fetch_memory_mib()
    peak = asyncio.create_task(_watch_peak(gateway))
    outcome = await upload(rig, gateway, "/jobs", lines)
    peak.cancel()
    growth_mib = await peak - before_mib
    await check_stored(rig, json.loads(outcome["answer"])["id"], lines)
    queued = await rig.store.count_jobs(POOL.namespace, state=JobState.QUEUED)
    if queued != warm_up["answers"] + 1:
        raise SelfCheckFailed(f"{queued} jobs are queued, {warm_up['answers'] + 1} were accepted")
    return build_uploaded(outcome, growth_mib)


async def _watch_peak(gateway: Server) -> float:
    """Return the most memory that was seen, in MiB, when cancelled."""
    peak_mib = 0.0
    with suppress(asyncio.CancelledError):
        while True:
            peak_mib = max(peak_mib, gateway.fetch_memory_mib())
            await asyncio.sleep(_SAMPLE_S)
    return max(peak_mib, gateway.fetch_memory_mib())


async def check_stored(rig: Rig, job_id: str, lines: int) -> None:
    """Raise SelfCheckFailed unless the batch is queued with all its lines, as they were sent."""
    record = await rig.store.fetch(job_id)
    if (record.state, record.counts.total) != (JobState.QUEUED, lines):
        raise SelfCheckFailed(f"{record.counts.total} of {lines} lines, {record.state}")
    for at in range(0, lines, max(1, lines // 50)):
        (line,) = await rig.store.fetch_lines(job_id, at, 1)
        if line is None or line.custom_id != f"line-{at}":
            raise SelfCheckFailed(f"line {at} is not there, or another is in its place")
        if json.loads(line.body) != build_line_body(at):
            raise SelfCheckFailed(f"line {at} is not what was sent")


ROW = Row(
    "batch-intake",
    "a batch of 50,000 lines streamed in through `POST /jobs`, by one gateway process that was "
    "just started; beside a route that reads the same bytes and discards them",
    measure,
)
