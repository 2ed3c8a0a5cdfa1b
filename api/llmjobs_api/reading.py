"""Jobs as they are shown: the record with its explanation, and what it produced."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from llmjobs_api.context import Gateway
from llmjobs_api.problems import Problem
from llmjobs_api.schemas import JobView
from llmjobs_api.views import build_job
from llmjobs_core.errors import JobNotFound, PoolNotFound
from llmjobs_core.explain import explain_waiting
from llmjobs_core.jobs import BatchLine, JobKind, JobRecord, Page, UnitResult
from llmjobs_core.names import PoolKey
from llmjobs_core.pools import PoolStats, Waiting
from llmjobs_core.states import JobState
from llmjobs_core.store.decode import build_cursor

RESULTS_AT_ONCE = 50
SCAN_PAGES = 20
"""Pages looked through for one page of a filtered list, at most."""


async def _fetch_stats(gateway: Gateway, pool: PoolKey) -> PoolStats | None:
    try:
        return await gateway.store.fetch_pool(pool)
    except PoolNotFound:
        return None


async def _fetch_place(gateway: Gateway, job_id: str) -> Waiting | None:
    try:
        return await gateway.store.fetch_waiting(job_id)
    except JobNotFound:
        return None


def _explain(record: JobRecord, stats: PoolStats | None, waiting: Waiting | None) -> JobView:
    now_ms = stats.now_ms if stats else time.time_ns() // 1_000_000
    return build_job(record, explain_waiting(record, stats, waiting, now_ms))


async def view_job(gateway: Gateway, record: JobRecord) -> JobView:
    """Return one job with its place in the backlog."""
    if record.state is not JobState.QUEUED:
        return _explain(record, None, None)
    stats, waiting = await asyncio.gather(
        _fetch_stats(gateway, record.pool), _fetch_place(gateway, record.id)
    )
    return _explain(record, stats, waiting)


async def view_jobs(gateway: Gateway, records: Sequence[JobRecord]) -> list[JobView]:
    """Return jobs of a list; without their places, which would cost one call each."""
    pools = sorted({r.pool for r in records if r.state is JobState.QUEUED})
    stats = dict(zip(pools, await gateway.store.fetch_pools(pools), strict=True))
    return [_explain(record, stats.get(record.pool), None) for record in records]


async def list_records(
    gateway: Gateway,
    namespace: str | None,
    *,
    state: JobState | None,
    label: tuple[str, str] | None,
    reason: str | None,
    limit: int,
    cursor: str | None,
) -> Page:
    """Return a page, newest first; a page may be short while there is a next one."""
    kept: list[JobRecord] = []
    for _ in range(SCAN_PAGES):
        page = await gateway.store.list_jobs(
            namespace, state=state, label=label, reason=reason, limit=limit, cursor=cursor
        )
        for record in page.jobs:
            kept.append(record)
            if len(kept) == limit:
                is_all = record is page.jobs[-1] and page.next_cursor is None
                return Page(tuple(kept), None if is_all else build_cursor(record.id))
        cursor = page.next_cursor
        if cursor is None:
            break
    return Page(tuple(kept), cursor)


async def fetch_result(gateway: Gateway, record: JobRecord) -> bytes:
    """Return the OpenAI response of a single job; raises the 409 problem while there is none."""
    if record.kind is JobKind.BATCH:
        raise Problem(409, "is_batch", "a batch has many results: read /results")
    if not record.state.is_terminal:
        headers = {"Retry-After": "1"}
        detail = f"the job is {record.state} and has no result yet"
        raise Problem(409, "not_finished", detail, headers=headers)
    result = (await gateway.store.fetch_results(record.id))[0]
    if result is None or not result.ok or record.state is not JobState.SUCCEEDED:
        error = record.error
        why = error.message if error and error.message else record.message or record.reason
        code = error.code if error else "no_result"
        raise Problem(409, code, f"the job is {record.state} and has no result: {why}")
    return result.body


def extract_text(body: bytes) -> str:
    """Return the text of an OpenAI response; empty if it has none."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not answer.choices:
        return ""
    first = answer.choices[0]
    return (first.message.content if first.message else first.text) or ""


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    text: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)


async def fetch_text(gateway: Gateway, record: JobRecord, line: int | None) -> str:
    """Return the text so far of a job, or of one line of a batch."""
    if record.kind is JobKind.REQUEST:
        return await gateway.store.fetch_text(record.id)
    if line is None or line >= record.counts.total:
        last = record.counts.total - 1
        detail = f"line must be a number from 0 to {last}: this is a batch"
        raise Problem(422, "invalid_request", detail, param="line")
    text = await gateway.store.fetch_text(record.id, line)
    if text:
        return text
    result = (await gateway.store.fetch_results(record.id, line))[0]
    return extract_text(result.body) if result is not None and result.ok else ""


async def iterate_results(gateway: Gateway, record: JobRecord) -> AsyncIterator[bytes]:
    """Yield the results that are there as OpenAI batch output, in the order of the lines.

    Of a job that has ended, every line has an entry: what was not run says so.
    """
    total = record.counts.total
    for start in range(0, total, RESULTS_AT_ONCE):
        count = min(RESULTS_AT_ONCE, total - start)
        results, names = await asyncio.gather(
            gateway.store.fetch_results(record.id, start, count),
            _fetch_names(gateway, record, start, count),
        )
        lines = [
            encode_result(record, start + at, name, result)
            for at, (name, result) in enumerate(zip(names, results, strict=True))
            if result is not None or record.state.is_terminal
        ]
        if lines:
            yield b"".join(lines)


async def _fetch_names(gateway: Gateway, record: JobRecord, start: int, count: int) -> list[str]:
    if record.kind is JobKind.REQUEST:
        return [record.id]
    lines: list[BatchLine | None] = await gateway.store.fetch_lines(record.id, start, count)
    return [line.custom_id if line else "" for line in lines]


_MISSING = {
    JobState.CANCELLED: ("batch_cancelled", "the job was cancelled before this request ended"),
    JobState.EXPIRED: ("batch_expired", "a deadline of the job passed before this request ended"),
}


def encode_result(record: JobRecord, line: int, custom_id: str, result: UnitResult | None) -> bytes:
    """Return one line of OpenAI batch output.

    Source: https://platform.openai.com/docs/api-reference/batch/request-output
    """
    entry: dict[str, Any] = {"id": f"{record.id}-{line}", "custom_id": custom_id}
    if result is None:
        code, message = _MISSING.get(record.state, ("batch_failed", "the request was not run"))
        entry |= {"response": None, "error": {"code": code, "message": message}}
    else:
        answer = {
            "status_code": result.status_code,
            "request_id": f"{record.id}-{line}",
            "body": msgspec.Raw(result.body) if result.body else None,
        }
        error = None
        if not result.ok and not result.body:
            error = {"code": "request_failed", "message": "the engine gave no answer"}
        entry |= {"response": answer, "error": error}
    return msgspec.json.encode(entry) + b"\n"
