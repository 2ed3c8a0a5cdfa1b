"""From submitting a job to seeing its end, on an idle system, beside the peers."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from llmjobs_bench.figures import Bound, Figure, divide, percentile
from llmjobs_bench.peers import PEERS, Peer, add_front, add_worker, build_payload
from llmjobs_bench.rig import Rig, Server
from llmjobs_bench.row import Row, Stage
from llmjobs_bench.rows.relay import build_body
from llmjobs_testing.engine_text import build_text

SLOTS = 64
WARM_UP = 20

Times = list[float]
"""Milliseconds of one job each."""


async def measure(stage: Stage) -> Sequence[Figure]:
    """Run the same job again and again, one at a time, by each in turn."""
    count = stage.size(100, 10)
    async with Rig(stage.folder) as rig:
        engine = await rig.add_engine()
        gateway, _, *fronts = await asyncio.gather(
            rig.add_gateway(),
            rig.add_worker(engine, concurrency=SLOTS),
            *(add_front(rig, peer, engine) for peer in PEERS),
        )
        ways: dict[str, Callable[[int], Awaitable[Times]]] = {
            "ours": partial(run_jobs, rig, "sse", gateway),
            "in two": partial(run_jobs, rig, "sse2", gateway),
        }
        for peer, front in zip(PEERS, fronts, strict=True):
            await add_worker(rig, peer, engine)
            ways[peer.name] = partial(run_jobs, rig, "wait", front)
        for way in ways.values():
            await way(WARM_UP)
        taken = await stage.alternate({name: partial(way, count) for name, way in ways.items()})
    return build_figures(taken, PEERS)


async def run_jobs(rig: Rig, kind: str, server: Server, count: int) -> Times:
    """Run *count* jobs; the client fails where one did not end as it must."""
    payload = build_payload(build_body(1)).decode()
    argv = ["-m", "llmjobs_bench.http_turnaround", kind, str(server.port), str(count), payload]
    return json.loads(await rig.run("turnaround", [*argv, build_text(1)]))  # type: ignore[no-any-return]


def build_figures(taken: dict[str, list[Times]], peers: Sequence[Peer]) -> Sequence[Figure]:
    """Return the percentiles of each; the best peer is that of each run."""
    at = {
        percent: {name: [percentile(run, percent) for run in runs] for name, runs in taken.items()}
        for percent in (50, 99)
    }
    best = [min(run) for run in zip(*(at[50][peer.name] for peer in peers), strict=True)]
    return [
        Figure("p50", at[50]["ours"], "ms", Bound(at_most=8)),
        Figure("p99", at[99]["ours"], "ms", Bound(at_most=40)),
        Figure("p50 of the best peer's", divide(at[50]["ours"], best), bound=Bound(at_most=1.0)),
        Figure("p50 in two requests", at[50]["in two"], "ms"),
        *(Figure(f"{peer.title} p50", at[50][peer.name], "ms") for peer in peers),
        *(Figure(f"{peer.title} p99", at[99][peer.name], "ms") for peer in peers),
    ]


ROW = Row(
    "turnaround",
    "submitting a job of one token to its last event on SSE, one job at a time, against the peers "
    "running the same request (FastAPI in front of each, which waits as the peer does best)",
    measure,
)
