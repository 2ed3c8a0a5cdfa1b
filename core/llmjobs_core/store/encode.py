"""Between values and what the scripts take and give: pure, and the only place that knows how."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from llmjobs_core.jobs import (
    BatchLine,
    JobError,
    Lost,
    NewJob,
    ProgressUpdate,
    ReapReport,
    Submitted,
    UnitResult,
    Usage,
)
from llmjobs_core.names import PoolKey, UnitRef
from llmjobs_core.pools import PoolRegistration
from llmjobs_core.states import CLASS_WEIGHTS, JobClass, JobState
from llmjobs_core.store.scripts import Arg

ERROR_MESSAGE_MAX = 1024
"""Characters of an error message that are kept (arbitrary)."""


def as_text(value: object) -> str:
    """Return a reply's bytes as text; empty for nothing."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def as_bytes(value: object) -> bytes:
    """Return a reply's bytes as they are; empty for nothing."""
    return value if isinstance(value, bytes) else b""


def as_int(value: object) -> int:
    """Return a reply as a whole number; 0 for nothing."""
    text = as_text(value)
    return int(float(text)) if text else 0


def as_optional_int(value: object) -> int | None:
    """Return a reply as a whole number; None for nothing."""
    return as_int(value) if value not in {None, b"", ""} else None


def as_list(value: object) -> list[object]:
    """Return a reply's elements."""
    return list(value) if isinstance(value, list | tuple) else []


def pack_ids(ids: Sequence[int]) -> bytes:
    """Return token ids as 4 bytes each, so that a checkpoint grows by appending."""
    return struct.pack(f"<{len(ids)}I", *ids)


def unpack_ids(data: bytes) -> tuple[int, ...]:
    """Return the token ids of :func:`pack_ids`."""
    return struct.unpack(f"<{len(data) // 4}I", data)


def class_weight(job: NewJob) -> int:
    """Return the job's share in the fair backlog."""
    return CLASS_WEIGHTS[job.job_class] * job.namespace_weight


def label_text(labels: Iterable[tuple[str, str]]) -> str:
    """Return labels as the scripts' one line each."""
    return "\n".join(f"{name}={value}" for name, value in labels)


def submit_args(job: NewJob) -> list[Arg]:
    """Return what ``submit.lua`` takes after prefix and template."""
    idem = f"{job.pool.namespace}:{job.idempotency_key}" if job.idempotency_key else ""
    fields: dict[str, Arg] = {
        "pool": str(job.pool),
        "ns": job.pool.namespace,
        "cls": job.job_class,
        "wt": class_weight(job),
        "cwt": CLASS_WEIGHTS[job.job_class],
        "flow": job.flow or job.pool.namespace,
        "kind": job.kind,
        "cost": max(1, job.cost),
        "model": job.model,
        "ep": job.endpoint,
        "total": 0 if job.kind == "batch" else 1,
        "bl": job.backoff_limit,
        "rec": job.recovery,
        "ttl": job.ttl_s,
        "src": job.source,
    }
    optional: dict[str, Arg | None] = {
        "name": job.name,
        "owner": job.owner,
        "res": job.resource,
        "user": job.user,
        "retry_of": job.retry_of,
        "sus": 1 if job.suspend else None,
        "again": 1 if job.resubmitted else None,
        "ad": job.active_deadline_s,
        "qd": job.queue_deadline_s,
    }
    fields |= {name: value for name, value in optional.items() if value not in {None, ""}}
    labels = label_text(job.labels.items())
    return [job.id, idem, job.fingerprint, labels, job.body, msgspec.msgpack.encode(fields)]


def parse_submitted(reply: object) -> Submitted:
    """Read ``submit.lua``'s reply."""
    job_id, created, state = as_list(reply)
    return Submitted(as_text(job_id), as_int(created) == 1, JobState(as_text(state)))


def line_blob(line: BatchLine) -> bytes:
    """Return a batch line as stored: custom id as JSON, endpoint and cost, then the body."""
    head = msgspec.json.encode(line.custom_id) + f"\n{line.endpoint}\n{line.cost}\n".encode()
    return head + line.body


def parse_line(blob: object) -> BatchLine | None:
    """Read a stored batch line; None for nothing."""
    if not isinstance(blob, bytes) or not blob:
        return None
    custom_id, endpoint, cost, body = blob.split(b"\n", 3)
    return BatchLine(
        msgspec.json.decode(custom_id, type=str), endpoint.decode(), body, cost=int(cost)
    )


def append_args(job_id: str, start: int, lines: Sequence[BatchLine]) -> list[Arg]:
    """Return what ``append.lua`` takes."""
    return [job_id, start, sum(line.cost for line in lines), *map(line_blob, lines)]


def reclassify_args(job_id: str, job_class: JobClass | None, ttl_s: int | None) -> list[Arg]:
    """Return what ``reclassify.lua`` takes."""
    weight = "" if job_class is None else CLASS_WEIGHTS[job_class]
    return [job_id, job_class or "", weight, "" if ttl_s is None else ttl_s]


def renew_args(
    prefix: str,
    template: str,
    lease_s: float,
    worker: str,
    pool: PoolKey,
    slots: int,
    held: Iterable[tuple[UnitRef, int]],
) -> list[Arg]:
    """Return all that ``renew.lua`` takes."""
    args: list[Arg] = [prefix, template, worker, str(pool), slots, int(lease_s * 1000)]
    for ref, fence in held:
        args += (str(ref), fence)
    return args


def reap_args(prefix: str, template: str, limit: int) -> list[Arg]:
    """Return all that ``reap.lua`` takes."""
    return [prefix, template, limit]


def _progress_fields(update: ProgressUpdate | None) -> list[Arg]:
    if update is None:
        return ["", 0, "", "", 0, -1, 0, 0, -1]
    return [
        update.text,
        update.tokens,
        pack_ids(update.token_ids),
        pack_ids(update.prompt_token_ids),
        int(update.reset),
        update.at,
        update.regenerated,
        int(update.is_partial),
        update.tokens_at,
    ]


def progress_args(updates: Sequence[ProgressUpdate]) -> list[Arg]:
    """Return what ``progress.lua`` takes: many updates in two arguments, each of which costs."""
    packed = []
    all_ids: list[bytes] = []
    for update in updates:
        ids, prompt_ids = pack_ids(update.token_ids), pack_ids(update.prompt_token_ids)
        all_ids += (ids, prompt_ids)
        packed.append(
            (
                str(update.ref),
                str(update.fence),
                update.text,
                update.tokens,
                len(ids),
                len(prompt_ids),
                update.reset,
                update.at,
                update.regenerated,
                update.is_partial,
                update.tokens_at,
            )
        )
    return [msgspec.msgpack.encode(packed), b"".join(all_ids)]


def complete_args(
    ref: UnitRef,
    fence: int,
    status_code: int,
    body: bytes,
    usage: Usage,
    last: ProgressUpdate | None,
) -> list[Arg]:
    """Return what ``complete.lua`` takes."""
    tokens = (usage.prompt_tokens, usage.completion_tokens, usage.regenerated_tokens)
    return [str(ref), fence, status_code, body, *tokens, *_progress_fields(last)]


def fail_args(
    ref: UnitRef,
    fence: int,
    error: JobError,
    status_code: int,
    body: bytes,
    retry_in_ms: int | None,
    usage: Usage | None,
) -> list[Arg]:
    """Return what ``fail.lua`` takes."""
    spent = usage or Usage()
    return [
        str(ref),
        fence,
        error.code,
        error.message[:ERROR_MESSAGE_MAX],
        status_code,
        body,
        "" if retry_in_ms is None else max(0, retry_in_ms),
        spent.prompt_tokens,
        spent.completion_tokens,
        spent.regenerated_tokens,
    ]


def release_args(held: Sequence[tuple[UnitRef, int]], reason: str) -> list[Arg]:
    """Return what ``release.lua`` takes."""
    args: list[Arg] = [reason]
    for ref, fence in held:
        args += (str(ref), fence)
    return args


def put_pool_args(pool: PoolRegistration) -> list[Arg]:
    """Return what ``put_pool.lua`` takes to publish *pool*."""
    return [
        str(pool.key),
        "put",
        "\n".join(pool.models),
        pool.concurrency,
        int(pool.accepting),
        pool.reason,
        pool.message[:ERROR_MESSAGE_MAX],
    ]


def drop_pool_args(key: PoolKey) -> list[Arg]:
    """Return what ``put_pool.lua`` takes to forget a pool."""
    return [str(key), "drop", "", 0, 0, "", ""]


def parse_int(reply: object) -> int:
    """Read a reply that is one number."""
    return as_int(reply)


def parse_text(reply: object) -> str:
    """Read a reply that is one text."""
    return as_text(reply)


def parse_lost(reply: object) -> tuple[Lost, ...]:
    """Read pairs of unit and flag."""
    items = iter(as_list(reply))
    return tuple(
        Lost(UnitRef.parse(as_text(ref)), as_text(flag) == "1", behind=as_text(flag) == "2")
        for ref, flag in zip(items, items, strict=True)
    )


def parse_reap(reply: object) -> ReapReport:
    """Read ``reap.lua``'s reply."""
    recovered, poisoned, expired, resent, promoted, removed, skipped = map(as_int, as_list(reply))
    return ReapReport(
        recovered=recovered,
        poisoned=poisoned,
        expired=expired,
        resent=resent,
        promoted=promoted,
        removed=removed,
        skipped=skipped == 1,
    )


def parse_result(line: int, blob: object) -> UnitResult | None:
    """Read a stored result; None for nothing."""
    if not isinstance(blob, bytes):
        return None
    head, _, body = blob.partition(b"\n")
    status, ok = head.split()
    return UnitResult(line=line, status_code=int(status), body=body, ok=ok == b"1")


def iterate_streams(reply: object) -> Iterator[tuple[str, list[tuple[bytes, dict[bytes, bytes]]]]]:
    """Yield the streams of an XREAD reply that have entries, in either protocol's shape."""
    pairs: Iterable[Any] = reply.items() if isinstance(reply, dict) else as_list(reply)
    for name, entries in pairs:
        # RESP3 wraps the entries of a stream in one more list.
        rows = entries[0] if len(entries) == 1 and isinstance(entries[0], list) else entries
        yield as_text(name), list(rows)
