"""Tokens from an engine to Redis by one worker process, beside reading and discarding them.

Each token is an event in an HTTP chunk of its own, as vLLM sends it. "As fast as they come" means
that the reader, not the engine, is what takes the time: sockets are never empty, and a read brings
whatever lies there, as from any engine that is ahead of its reader. So the load engine writes
several chunks at a time; how many hardly matters to either contender, as long as it is enough that
the engine is not measured instead (`engine._SLICE`). The paced row writes every token by itself.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed, divide
from llmjobs_bench.rig import MODEL, POOL, Rig, Server
from llmjobs_bench.row import Row, Stage
from llmjobs_core.jobs import NewJob
from llmjobs_core.names import build_job_id
from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.waiting import eventually_async

STREAMS = 64
PACE = 100.0
"""Tokens a second of each paced stream."""


def build_body(tokens: int, *, rate: float = 0.0, delay_s: float = 0.0) -> dict[str, Any]:
    """Return a chat that generates *tokens* tokens, as a client would send it."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": "tell me a long story"}],
        "max_tokens": tokens,
        "script": {"tokens": tokens, "rate": rate, "delay_s": delay_s},
    }


def build_engine_body(tokens: int, *, rate: float = 0.0, delay_s: float = 0.0) -> bytes:
    """Return what a worker makes of `build_body` for vLLM."""
    body = build_body(tokens, rate=rate, delay_s=delay_s)
    options = {"include_usage": True, "continuous_usage_stats": True}
    return json.dumps(
        body | {"stream": True, "stream_options": options, "return_token_ids": True}
    ).encode()


async def measure_fast(stage: Stage) -> Sequence[Figure]:
    """Relay as fast as the tokens come."""
    tokens = stage.size(20_000, 500)
    async with Rig(stage.folder) as rig:
        engine = await rig.add_engine()
        await rig.add_worker(engine, concurrency=STREAMS)

        async def relay() -> float:
            took_s = await relay_once(rig.store, tokens)
            return STREAMS * tokens / took_s

        async def discard() -> float:
            read = await discard_once(rig, engine, build_engine_body(tokens))
            return STREAMS * tokens / read["took_s"]

        await relay()
        taken = await stage.alternate({"relay": relay, "discard": discard})
    return [
        Figure("relayed", taken["relay"], "tokens/s", Bound(at_least=150_000)),
        Figure("of discarding", divide(taken["relay"], taken["discard"]), bound=Bound(0.45)),
        Figure("discarded", taken["discard"], "tokens/s"),
    ]


async def measure_paced(stage: Stage) -> Sequence[Figure]:
    """Relay at the pace of an engine; what counts is CPU, of the worker process alone."""
    tokens = stage.size(600, 150)
    async with Rig(stage.folder) as rig:
        engine = await rig.add_engine()
        worker = await rig.add_worker(engine, concurrency=STREAMS)

        async def relay() -> float:
            """Count while all streams run: what a job costs besides is another row's."""
            relaying = asyncio.create_task(relay_once(rig.store, tokens, rate=PACE))
            await asyncio.sleep(tokens / PACE * 0.2)
            before_s, began_s = worker.fetch_cpu_s(), time.perf_counter()
            await asyncio.sleep(tokens / PACE * 0.6)
            spent_s, took_s = worker.fetch_cpu_s() - before_s, time.perf_counter() - began_s
            await relaying
            return spent_s / (STREAMS * PACE * took_s) * 1e6

        async def discard() -> float:
            read = await discard_once(rig, engine, build_engine_body(tokens, rate=PACE))
            return read["cpu_s"] / (STREAMS * tokens) * 1e6

        await relay_once(rig.store, tokens=50)
        taken = await stage.alternate({"relay": relay, "discard": discard})
    ratio = divide(taken["relay"], taken["discard"])
    return [
        Figure("relaying", taken["relay"], "µs of CPU a token", Bound(at_most=45)),
        Figure("of discarding", ratio, bound=Bound(at_most=3)),
        Figure("discarding", taken["discard"], "µs of CPU a token"),
    ]


async def relay_once(store: JobStore, tokens: int, *, rate: float = 0.0) -> float:
    """Have one job a stream relayed; returns the seconds from the first submission to the last end.

    Raises SelfCheckFailed where a text is not what the engine said.
    """
    body = json.dumps(build_body(tokens, rate=rate)).encode()
    began_s, born_ms = time.perf_counter(), int(time.time() * 1000)
    ids = [build_job_id(born_ms) for _ in range(STREAMS)]
    jobs = [NewJob(id=job_id, pool=POOL, model=MODEL, body=body) for job_id in ids]
    await asyncio.gather(*(store.submit(job) for job in jobs))

    async def have_ended() -> bool:
        records = await store.fetch_many(ids)
        return all(record is not None and record.state.is_terminal for record in records)

    await eventually_async(have_ended, what=f"{STREAMS} jobs to end", timeout_s=120)
    took_s = time.perf_counter() - began_s
    await check_texts(store, ids, build_text(tokens))
    return took_s


async def check_texts(store: JobStore, ids: Sequence[str], text: str) -> None:
    """Raise SelfCheckFailed unless every job succeeded with *text*."""
    for record in await store.fetch_many(ids):
        if record is None or record.state is not JobState.SUCCEEDED:
            raise SelfCheckFailed(f"a job did not succeed: {record and record.message}")
        (result,) = await store.fetch_results(record.id, 0, 1)
        if result is None or json.loads(result.body)["choices"][0]["message"]["content"] != text:
            raise SelfCheckFailed("a job's text is not what the engine said")


async def discard_once(rig: Rig, engine: Server, body: bytes) -> dict[str, float]:
    """Read the same streams in a process of their own and throw them away."""
    argv = ["-m", "llmjobs_bench.engine_reader", engine.url, str(STREAMS), body.decode()]
    return json.loads(await rig.run("engine-reader", argv))  # type: ignore[no-any-return]


FAST = Row(
    "relay-fast",
    f"{STREAMS} streams of 1-token chunks as fast as they come, relayed to Redis by one worker "
    "process, against reading them with aiohttp and discarding",
    measure_fast,
)

PACED = Row(
    "relay-paced",
    f"the same at {PACE:.0f} tokens/s a stream: CPU of the worker process, against that of reading "
    "and discarding",
    measure_paced,
)
