"""Jobs for the scripted engine, and what became of them."""

import json
import time
from dataclasses import replace
from typing import Any

import msgspec

from llmjobs_core.errors import RetryableError
from llmjobs_core.jobs import BatchLine, JobKind, JobRecord, NewJob, UnitResult
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_testing.waiting import eventually_async
from llmjobs_worker.persist import persist

POOL = PoolKey("team-a", "scripted")
CHAT = "/v1/chat/completions"


def make_body(*, tokens: int = 16, seed: int | None = None, **fields: Any) -> dict[str, Any]:
    """Return a chat body whose answer has *tokens* tokens; ``script`` fields may be given."""
    script = {"tokens": tokens, **fields.pop("script", {})}
    body = {
        "model": "scripted",
        "messages": [{"role": "user", "content": "tell me"}],
        "script": script,
        **fields,
    }
    return body if seed is None else {**body, "seed": seed}


def make_job(body: dict[str, Any] | None = None, **changes: Any) -> NewJob:
    """Return a job for the scripted pool."""
    fields: dict[str, Any] = {
        "id": build_job_id(time.time_ns() // 1_000_000),
        "pool": POOL,
        "model": "scripted",
        "body": msgspec.json.encode(body if body is not None else make_body()),
    }
    return NewJob(**(fields | changes))


async def submit(store: JobStore, body: dict[str, Any] | None = None, **changes: Any) -> str:
    """Submit a job, however often the store must be asked; returns its id."""
    job = make_job(body, **changes)
    job = replace(job, idempotency_key=job.idempotency_key or job.id)
    return (await persist(lambda: store.submit(job), step="submit")).job_id


async def submit_batch(store: JobStore, bodies: list[dict[str, Any]], **changes: Any) -> str:
    """Submit a batch of chat lines; returns its id."""
    job_id = await submit(store, kind=JobKind.BATCH, **(changes | {"body": b""}))
    lines = [
        BatchLine(f"line-{i}", CHAT, msgspec.json.encode(body)) for i, body in enumerate(bodies)
    ]
    await store.append_lines(job_id, 0, lines)
    await store.seal(job_id)
    return job_id


async def wait_state(
    store: JobStore, job_id: str, *states: JobState, timeout_s: float = 60.0
) -> JobRecord:
    """Return the job once it is in one of *states* (any terminal one if none is given)."""

    async def is_there() -> bool:
        try:
            state = (await store.fetch(job_id)).state
        except RetryableError:
            return False
        return state in states if states else state.is_terminal

    await eventually_async(is_there, what=f"{job_id} {states or 'ended'}", timeout_s=timeout_s)
    return await store.fetch(job_id)


async def wait_tokens(store: JobStore, job_id: str, count: int, timeout_s: float = 60.0) -> None:
    """Wait until the job has *count* tokens written down."""

    async def has_them() -> bool:
        return (await store.fetch(job_id)).tokens >= count

    await eventually_async(has_them, what=f"{count} tokens of {job_id}", timeout_s=timeout_s)


async def fetch_answer(store: JobStore, job_id: str) -> dict[str, Any]:
    """Return a single job's result."""
    (result,) = await store.fetch_results(job_id)
    assert result is not None
    answer: dict[str, Any] = json.loads(result.body)
    return answer


def parse_content(result: UnitResult | None) -> str:
    """Return the text of a stored chat answer."""
    assert result is not None
    return str(json.loads(result.body)["choices"][0]["message"]["content"])


async def fetch_watched_text(store: JobStore, job_id: str) -> tuple[str, int]:
    """Return the text as a watcher has put it together, and how many resets it saw."""
    text, resets = "", 0
    for event in await store.fetch_events(job_id, limit=100_000):
        if event.type == "reset":
            text, resets = "", resets + 1
        elif event.type == "delta":
            text += event.fields["text"]
    return text, resets
