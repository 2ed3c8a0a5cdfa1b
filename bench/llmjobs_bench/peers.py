"""What people would use instead of llmjobs, started as their own documentation says.

Each is one module in ``bench/peers``, with the same two routes in front (``front.py``), run by the
Python of that project. Must not know what is measured.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio

from llmjobs_bench.rig import Rig, Server
from llmjobs_dev.ports import find_free_ports

FOLDER = Path(__file__).resolve().parents[1] / "peers"
PYTHON = str(FOLDER / ".venv" / "bin" / "python")
SUBMIT = "/jobs"
WAIT = "/jobs/wait"

Count = Callable[[redis.asyncio.Redis], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them."""

    name: str
    title: str
    module: str
    """Its module in ``bench/peers``; its ``app`` is the FastAPI app in front."""
    worker: Sequence[str]
    """How its worker is started, after ``python``."""
    count_queued: Count
    """Counts the jobs that wait in its queue."""


def count_list(key: str) -> Count:
    """Return what counts the members of a list."""

    async def count(client: redis.asyncio.Redis) -> int:
        return int(await client.llen(key))

    return count


def count_stream(key: str) -> Count:
    """Return what counts the entries of a stream."""

    async def count(client: redis.asyncio.Redis) -> int:
        return int(await client.xlen(key))

    return count


def _celery(*options: str) -> list[str]:
    return ["-m", "celery", "-A", "article:celery_app", "worker", "--loglevel", "WARNING", *options]


ARTICLE = Peer(
    "article",
    "the article's stack",
    "article",
    _celery("--pool", "prefork", "--concurrency", "2"),
    count_list("celery"),
)
SAQ = Peer(
    "saq",
    "SAQ",
    "with_saq",
    ["-m", "saq", "--quiet", "with_saq.settings"],
    count_list("saq:default:queued"),
)
TASKIQ = Peer(
    "taskiq",
    "taskiq",
    "with_taskiq",
    ["-m", "taskiq", "worker", "with_taskiq:broker", "--workers", "1", "--log-level", "WARNING"],
    count_stream("taskiq"),
)
RQ = Peer(
    "rq",
    "RQ",
    "with_rq",
    ["-m", "rq.cli", "worker", "-w", "rq.worker.SimpleWorker", "--quiet"],
    count_list("rq:queue:default"),
)
PEERS = (ARTICLE, SAQ, TASKIQ, RQ)


def build_env(rig: Rig, engine: Server | None) -> Mapping[str, str]:
    """Return where a peer finds Valkey and the engine."""
    return {
        "REDIS_URL": rig.valkey.url,
        "RQ_REDIS_URL": rig.valkey.url,
        "ENGINE_URL": engine.url if engine else "http://127.0.0.1:9",
        "PYTHONPATH": str(FOLDER),
    }


async def add_front(rig: Rig, peer: Peer, engine: Server | None = None) -> Server:
    """Start the app in front of *peer*, one uvicorn process (uvloop and httptools)."""
    (port,) = find_free_ports(1)
    argv = ["-m", "uvicorn", f"{peer.module}:app", "--port", str(port), "--no-access-log"]
    return await rig.add(
        f"{peer.name}-front",
        [*argv, "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"],
        port=port,
        env=build_env(rig, engine),
        python=PYTHON,
        cwd=FOLDER,
    )


async def add_worker(
    rig: Rig, peer: Peer, engine: Server, *, worker: Sequence[str] | None = None
) -> Server:
    """Start the worker of *peer*, maybe by another command; returns at once."""
    return await rig.add(
        f"{peer.name}-worker",
        list(worker or peer.worker),
        env=build_env(rig, engine),
        python=PYTHON,
        cwd=FOLDER,
    )


def build_payload(body: Mapping[str, object]) -> bytes:
    """Return an OpenAI request as the HTTP body that llmjobs and all peers take."""
    return json.dumps({"body": body}).encode()
