"""Plain Celery beside our worker: its workers, its messages, and how fast a backlog is drained."""

import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from llmjobs_bench.celery_events import CeleryEvents
from llmjobs_bench.figures import SelfCheckFailed
from llmjobs_bench.rig import Rig, Server
from llmjobs_core.celery_app import build_celery_app, build_message_template
from llmjobs_testing.waiting import eventually

PEERS = Path(__file__).resolve().parents[1] / "peers"
PYTHON = str(PEERS / ".venv" / "bin" / "python")
NOOP = "llmjobs_bench.celery_noop"
THREADS = "celery_threads"
_DRAIN_TIMEOUT_S = 120.0


async def add_celery(
    rig: Rig, module: str, engine: Server, *, queue: str, concurrency: int
) -> Server:
    """Start a Celery worker of *module*'s app on a pool of threads, with events on."""
    argv = ["-m", "celery", "-A", module, "worker", "--pool=threads", f"-c{concurrency}", "-E"]
    argv += ["-n", f"{queue}@bench", "-Q", queue, "-lwarning", "--without-mingle"]
    env = {
        "PEER_REDIS": rig.valkey.url,
        "PEER_ENGINE": engine.url,
        "PEER_CONCURRENCY": str(concurrency),
    }
    python, cwd = (sys.executable, None) if module == NOOP else (PYTHON, PEERS)
    return await rig.add(module, [*argv, "--without-gossip"], env=env, python=python, cwd=cwd)


class Messages:
    """Ready-made task messages, as ``apply_async`` would send them."""

    def __init__(self, redis_url: str) -> None:
        self._template = json.loads(build_message_template(build_celery_app(redis_url)))

    def build(self, queue: str, body: str) -> tuple[str, str]:
        """Return a task's id and its message, with *body* as its only argument."""
        message, task_id = self._template, str(uuid.uuid4())
        _, kwargs, embed = json.loads(message["body"])
        headers = {"id": task_id, "root_id": task_id, "argsrepr": repr((body,))}
        properties = {
            "correlation_id": task_id,
            "delivery_tag": task_id,
            "delivery_info": {"exchange": "", "routing_key": queue},
        }
        return task_id, json.dumps(
            message
            | {
                "body": json.dumps([[body], kwargs, embed]),
                "headers": message["headers"] | headers,
                "properties": message["properties"] | properties,
            }
        )


async def push_tasks(rig: Rig, queue: str, body: str, count: int) -> list[str]:
    """Put *count* tasks into *queue* at once; returns their ids."""
    messages = Messages(rig.valkey.url)
    built = [messages.build(queue, body) for _ in range(count)]
    await rig.store.client.lpush(queue, *(message for _, message in built))
    return [task_id for task_id, _ in built]


async def drain(events: CeleryEvents, submit: Callable[[], Awaitable[None]], count: int) -> float:
    """Submit *count* tasks and have them done; returns tasks/s, by their workers' own word.

    What ended while others were still submitted does not count. Raises SelfCheckFailed where
    events are missing or tasks failed.
    """
    events.forget()
    await submit()
    submitted_s = time.time()
    await eventually(
        lambda: len(events.succeeded_s) + events.counts["task-failed"] >= count,
        what=f"{count} tasks to end",
        timeout_s=_DRAIN_TIMEOUT_S,
    )
    check_events(events, count)
    timed = [ended_s for ended_s in events.succeeded_s if ended_s > submitted_s]
    return (len(timed) - 1) / (max(timed) - min(timed))


def check_events(events: CeleryEvents, count: int) -> None:
    """Raise SelfCheckFailed unless *count* tasks told all of their way."""
    for kind in ("task-received", "task-started", "task-succeeded"):
        if events.counts[kind] < count:
            raise SelfCheckFailed(f"{events.counts[kind]} {kind} events of {count} tasks")
