"""Lines of a batch through one worker process, as a share of what the engine's delay allows."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed, divide
from llmjobs_bench.rig import MODEL, POOL, Rig, Server
from llmjobs_bench.row import Row, Stage
from llmjobs_bench.rows.relay import build_body, build_engine_body
from llmjobs_core.jobs import BatchLine, JobKind, NewJob
from llmjobs_core.names import build_job_id
from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.waiting import eventually_async

SLOTS = 64
DELAY_S = 0.05
LIMIT = SLOTS / DELAY_S
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Lines/s of one run."""

    executing: float
    """From the first line's start to the last line's end."""
    in_all: float
    """From the first byte of the submission until the end was seen."""


async def measure_lines(stage: Stage) -> Sequence[Figure]:
    """Run batches, and read the same answers with nothing around, in turns."""
    count = stage.size(80, 10) * SLOTS  # whole rounds of the slots: the last one is not half empty
    async with Rig(stage.folder) as rig:
        engine = await rig.add_engine()
        await rig.add_worker(engine, concurrency=SLOTS)

        async def run_batch() -> Rates:
            return await run_lines(rig, engine, count)

        async def read() -> Rates:
            body = build_engine_body(1, delay_s=DELAY_S)
            argv = ["-m", "llmjobs_bench.line_reader", engine.url, str(SLOTS), str(count)]
            took_s = json.loads(await rig.run("line-reader", [*argv, body.decode()]))["took_s"]
            return Rates(count / took_s, count / took_s)

        await run_lines(rig, engine, 5 * SLOTS)
        taken = await stage.alternate({"batch": run_batch, "read": read})
    lines, bare = taken["batch"], [rates.executing for rates in taken["read"]]
    executing = [rates.executing for rates in lines]
    return [
        Figure("of the limit", [rate / LIMIT for rate in executing], bound=Bound(0.95)),
        Figure("in all", [rates.in_all / LIMIT for rates in lines]),
        Figure("of bare aiohttp", divide(executing, bare)),
        Figure("lines", executing, "lines/s"),
        Figure("bare aiohttp", bare, "answers/s"),
    ]


async def run_lines(rig: Rig, engine: Server, count: int) -> Rates:
    """Run one batch of *count* lines; returns how fast it was.

    Raises SelfCheckFailed unless each line has its result, by one request to the engine.
    """
    asked = await engine.fetch_requests()
    body = json.dumps(build_body(1, delay_s=DELAY_S)).encode()
    lines = [BatchLine(f"line-{n}", "/v1/chat/completions", body) for n in range(count)]
    job_id = build_job_id(int(time.time() * 1000))
    began_s = time.perf_counter()
    await rig.store.submit(NewJob(id=job_id, pool=POOL, model=MODEL, kind=JobKind.BATCH))
    await rig.store.append_lines(job_id, 0, lines)
    await rig.store.seal(job_id)

    async def has_ended() -> bool:
        return (await rig.store.fetch(job_id)).state.is_terminal

    await eventually_async(has_ended, what=f"{count} lines to end", timeout_s=_TIMEOUT_S)
    took_s = time.perf_counter() - began_s
    record = await rig.store.fetch(job_id)
    if record.state is not JobState.SUCCEEDED or record.counts.succeeded != count:
        raise SelfCheckFailed(f"the batch ended as {record.state}: {record.counts}")
    await check_lines(rig.store, job_id, count)
    if (sent := await engine.fetch_requests() - asked) != count:
        raise SelfCheckFailed(f"{sent} requests to the engine for {count} lines")
    assert record.started_ms is not None
    assert record.finished_ms is not None
    executing_s = (record.finished_ms - record.started_ms) / 1000
    return Rates(count / executing_s, count / took_s)


async def check_lines(store: JobStore, job_id: str, count: int) -> None:
    """Raise SelfCheckFailed unless every line's result is what the engine said."""
    text = build_text(1)
    for result in await store.fetch_results(job_id, 0, count):
        if result is None or json.loads(result.body)["choices"][0]["message"]["content"] != text:
            raise SelfCheckFailed("a line's result is not there, or not what the engine said")


LINES = Row(
    "batch-lines",
    f"lines/s of a batch whose engine answers after 50 ms, by one worker process of {SLOTS} slots: "
    f"share of the limit {SLOTS} / 0.05 s = {LIMIT:,.0f}/s while it runs (the bound), from "
    "submission to end, and of a bare aiohttp client with as many in flight",
    measure_lines,
)
