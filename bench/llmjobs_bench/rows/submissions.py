"""Submissions a second through ``POST /jobs``, beside a bare route and beside the peers."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed, divide
from llmjobs_bench.http_load import Load
from llmjobs_bench.peers import PEERS, SUBMIT, Peer, add_front, build_payload
from llmjobs_bench.rig import MODEL, POOL, Rig, Server
from llmjobs_bench.row import Row, Stage
from llmjobs_core.states import JobState
from llmjobs_dev.ports import find_free_ports

CONNECTIONS = 16
BODY = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "tell me a long story " * 24}],  # about 500 bytes
    "max_tokens": 64,
}


async def measure(stage: Stage) -> Sequence[Figure]:
    """Submit the same job again and again, to each in turn."""
    seconds = 0.3 if stage.is_quick else 1.0
    async with Rig(stage.folder) as rig:
        gateway, bare, *fronts = await asyncio.gather(
            rig.add_gateway(), add_bare(rig), *(add_front(rig, peer) for peer in PEERS)
        )
        contenders: dict[str, Callable[[], Awaitable[Load]]] = {
            "ours": partial(submit_ours, rig, gateway, seconds),
            "bare": partial(post, rig, bare, seconds),
        }
        for peer, front in zip(PEERS, fronts, strict=True):
            contenders[peer.name] = partial(submit_to, rig, peer, front, seconds)
        for warm_up in contenders.values():
            await warm_up()
        taken = await stage.alternate(contenders)
    rates = {name: [one["answers"] / one["took_s"] for one in all_] for name, all_ in taken.items()}
    best = [max(run) for run in zip(*(rates[peer.name] for peer in PEERS), strict=True)]
    return [
        Figure("of a bare route", divide(rates["ours"], rates["bare"]), bound=Bound(0.40)),
        Figure("times the best peer", divide(rates["ours"], best), bound=Bound(2.0)),
        Figure("llmjobs", rates["ours"], "jobs/s"),
        Figure("llmjobs p99", [one["p99_ms"] for one in taken["ours"]], "ms"),
        Figure("bare route", rates["bare"], "requests/s"),
        *(Figure(peer.title, rates[peer.name], "jobs/s") for peer in PEERS),
    ]


async def add_bare(rig: Rig) -> Server:
    """Start the bare routes."""
    (port,) = find_free_ports(1)
    return await rig.add(f"bare-{port}", ["-m", "llmjobs_bench.bare_routes", str(port)], port=port)


async def post(rig: Rig, server: Server, seconds: float) -> Load:
    """Post the job to *server* for so long."""
    await rig.empty()
    return await post_on(rig, server, seconds)


async def post_on(rig: Rig, server: Server, seconds: float) -> Load:
    """Post the job, whatever is there already."""
    wanted = (server.port, SUBMIT, CONNECTIONS, seconds, 202)
    argv = ["-m", "llmjobs_bench.http_load", *map(str, wanted), build_payload(BODY).decode()]
    return json.loads(await rig.run("http-load", argv))  # type: ignore[no-any-return]


async def submit_ours(rig: Rig, gateway: Server, seconds: float) -> Load:
    """Submit to the gateway; raises SelfCheckFailed unless every job it accepted is there."""
    load = await post(rig, gateway, seconds)
    stored = await rig.store.count_jobs(POOL.namespace, state=JobState.QUEUED)
    if stored != load["answers"]:
        raise SelfCheckFailed(f"{load['answers']} jobs were accepted, {stored} are queued")
    for answer in load["last"]:
        body = json.loads(await rig.store.fetch_request(json.loads(answer)["id"]))
        if body != BODY:
            raise SelfCheckFailed("a job's body is not what was submitted")
    return load


async def submit_to(rig: Rig, peer: Peer, front: Server, seconds: float) -> Load:
    """Submit to a peer; raises SelfCheckFailed unless its queue holds every job it accepted."""
    load = await post(rig, front, seconds)
    queued = await peer.count_queued(rig.store.client)
    if queued != load["answers"]:
        raise SelfCheckFailed(f"{peer.name}: {load['answers']} accepted, {queued} are queued")
    return load


ROW = Row(
    "submissions",
    f"submissions/s of jobs of 500 bytes through `POST /jobs`, one gateway process, {CONNECTIONS} "
    "connections, against a bare FastAPI route with the same body model, and the peers, each with "
    "FastAPI in front",
    measure,
)
