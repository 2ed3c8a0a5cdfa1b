"""A saturated engine's tokens through the queue, beside the same load straight at the engine.

More requests wait than the engine takes at once, so what the queue may cost is the time between a
slot's end and its next request, and the CPU that the engine would have liked to have.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed, divide
from llmjobs_bench.rig import MODEL, POOL, Rig, Server
from llmjobs_bench.row import Row, Stage
from llmjobs_core.jobs import NewJob
from llmjobs_core.names import build_job_id
from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_dev.llama_engine import MODEL_ALIAS
from llmjobs_testing.engine_text import build_text

EFFICIENCY = Bound(at_least=0.97)
SLOTS = 64
BUDGET = 10_000
"""Tokens/s of the load engine: an 8B model's on one large GPU, so that a stream has 156."""
LLAMA_SLOTS = 4
_LOOK_S = 0.2
"""Between looks at the pool: ends are told by the store's clock, so a rare look costs nothing."""
_END_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the load, and what must come of it."""

    body: dict[str, Any]
    """As a client sends it to the queue."""
    tokens: int
    text: str | None
    """None where only the engine knows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Taken:
    """One run of a load."""

    took_s: float
    answers: Sequence[Answer]
    busy: float
    """Slots of the engine that were in use on average; 0 where the engine does not tell."""


def build_scripted_load(count: int) -> list[Request]:
    """Return *count* chats of 100 to 300 tokens."""
    requests = []
    for place in range(count):
        tokens = spread(place, 100, 300)
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "tell me a long story"}],
            "max_tokens": tokens,
            "script": {"tokens": tokens},
        }
        requests.append(Request(body, tokens, build_text(tokens)))
    return requests


def build_llama_load(count: int, mean: int) -> list[Request]:
    """Return *count* chats of *mean* tokens, give or take a quarter: greedy, and no end before."""
    requests = []
    for place in range(count):
        tokens = spread(place, mean - mean // 4, mean + mean // 4)
        body = {
            "model": MODEL_ALIAS,
            "messages": [{"role": "user", "content": f"Tell me a story about {place} cats."}],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        requests.append(Request(body, tokens, None))
    return requests


def spread(place: int, least: int, most: int) -> int:
    """Return a length for the request at *place*, so that neighbours don't end together."""
    return least + (place * 75) % (most - least + 1)


async def measure_scripted(stage: Stage) -> Sequence[Figure]:
    """Load the load engine, whose streams share a budget."""
    load = build_scripted_load(stage.size(256, 96))
    async with Rig(stage.folder) as rig:
        engine = await rig.add_engine(budget=BUDGET)
        await rig.add_worker(engine, concurrency=SLOTS)
        return await measure_load(stage, rig, engine, load, slots=SLOTS)


async def measure_llama(stage: Stage) -> Sequence[Figure]:
    """Load llama.cpp, which takes all the CPU that it gets."""
    load = build_llama_load(stage.size(12, 6), stage.size(40, 8))
    async with Rig(stage.folder) as rig:
        engine = await rig.add_llama_engine(slots=LLAMA_SLOTS)
        await rig.add_worker(engine, concurrency=LLAMA_SLOTS)
        return await measure_load(stage, rig, engine, load, slots=LLAMA_SLOTS)


async def measure_load(
    stage: Stage, rig: Rig, engine: Server, load: Sequence[Request], *, slots: int
) -> list[Figure]:
    """Return the figures of *load* on *engine*, through the queue and straight."""

    async def queue() -> Taken:
        return await run_queued(rig.store, engine, load)

    async def direct() -> Taken:
        return await run_direct(rig, engine, load, slots)

    # What is read, compiled and connected at the first time is nobody's fault.
    await run_queued(rig.store, engine, load[:slots])
    await run_direct(rig, engine, load[:slots], slots)
    taken = await stage.alternate({"queued": queue, "direct": direct})
    for one in [*taken["queued"], *taken["direct"]]:
        check_answers(load, one.answers)
    total = sum(request.tokens for request in load)
    rates = {name: [total / one.took_s for one in runs] for name, runs in taken.items()}
    figures = [
        Figure("of direct", divide(rates["queued"], rates["direct"]), bound=EFFICIENCY),
        Figure("through the queue", rates["queued"], "tokens/s"),
        Figure("direct", rates["direct"], "tokens/s"),
    ]
    for name, runs in taken.items():
        if runs[0].busy:
            figures.append(Figure(f"busy slots, {name}", [one.busy for one in runs]))
    return figures


async def run_queued(store: JobStore, engine: Server, load: Sequence[Request]) -> Taken:
    """Submit all of *load*; from the first submission to the last end, by the same clock."""
    busy_s = await fetch_busy_s(engine)
    began_s = time.time()
    jobs = [
        NewJob(
            id=build_job_id(int(began_s * 1000)),
            pool=POOL,
            model=MODEL,
            body=json.dumps(request.body).encode(),
            cost=request.tokens,
        )
        for request in load
    ]
    for job in jobs:
        await store.submit(job)
    await wait_idle(store)
    records = await store.fetch_many([job.id for job in jobs])
    answers, ends_ms = [], []
    for record in records:
        if record is None or record.state is not JobState.SUCCEEDED:
            raise SelfCheckFailed(f"a job did not succeed: {record and record.message}")
        (result,) = await store.fetch_results(record.id, 0, 1)
        if result is None:
            raise SelfCheckFailed("a job has no result")
        text = json.loads(result.body)["choices"][0]["message"]["content"]
        answers.append(Answer(text, record.usage.completion_tokens))
        ends_ms.append(record.finished_ms or 0)
    took_s = max(ends_ms) / 1000 - began_s
    return Taken(took_s, answers, (await fetch_busy_s(engine) - busy_s) / took_s)


async def wait_idle(store: JobStore) -> None:
    """Return when the pool has nothing left to do."""
    async with asyncio.timeout(_END_TIMEOUT_S):
        while True:
            pool = await store.fetch_pool(POOL)
            if not pool.queued and not pool.running:
                return
            await asyncio.sleep(_LOOK_S)


async def run_direct(rig: Rig, engine: Server, load: Sequence[Request], slots: int) -> Taken:
    """Send *load* by a plain client of the engine, which keeps *slots* requests in flight."""
    busy_s = await fetch_busy_s(engine)
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    file = rig.folder / "load.jsonl"
    write_lines(file, [request.body | asked for request in load])
    argv = ["-m", "llmjobs_bench.direct_client", engine.url, str(slots), str(file)]
    told = json.loads(await rig.run("direct-client", argv))
    answers = [Answer(**answer) for answer in told["answers"]]
    return Taken(told["took_s"], answers, (await fetch_busy_s(engine) - busy_s) / told["took_s"])


def write_lines(file: Path, bodies: Sequence[dict[str, Any]]) -> None:
    """Write *bodies* to *file*, one a line."""
    file.write_text("".join(json.dumps(body) + "\n" for body in bodies), encoding="utf-8")


async def fetch_busy_s(engine: Server) -> float:
    """Return the load engine's seconds of open streams; 0 for an engine that does not tell."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{engine.url}/busy") as answer,
    ):
        return float((await answer.json())["busy_s"]) if answer.status == 200 else 0.0


def check_answers(load: Sequence[Request], answers: Sequence[Answer]) -> None:
    """Raise SelfCheckFailed unless every answer has its request's tokens, and its text."""
    if len(answers) != len(load):
        raise SelfCheckFailed(f"{len(answers)} answers to {len(load)} requests")
    for request, answer in zip(load, answers, strict=True):
        if answer.tokens != request.tokens:
            raise SelfCheckFailed(f"{answer.tokens} tokens came instead of {request.tokens}")
        if request.text is not None and answer.text != request.text:
            raise SelfCheckFailed("a text is not what the engine said")


SCRIPTED = Row(
    "efficiency",
    f"tokens/s of a saturated engine ({BUDGET:,}/s shared by {SLOTS} streams) through the queue, "
    f"against a plain client of the engine that keeps {SLOTS} requests in flight",
    measure_scripted,
)
LLAMA = Row(
    "efficiency-llama",
    f"the same with llama.cpp and Gemma 3 270M ({LLAMA_SLOTS} slots, one thread less than cores)",
    measure_llama,
    runs_min=11,
)
