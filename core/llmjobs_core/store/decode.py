"""What is read from Redis, as values: records, claims, pools, events, counters. Pure."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmjobs_core.errors import InvalidCursor, UnreadableEntry
from llmjobs_core.events import Change, Delivery, EventType, JobEvent
from llmjobs_core.jobs import Claim, Counts, JobError, JobKind, JobRecord, Usage
from llmjobs_core.names import PoolKey, UnitRef
from llmjobs_core.pools import (
    Counters,
    Histogram,
    PoolRegistration,
    PoolStats,
    Waiting,
    WorkerInfo,
)
from llmjobs_core.states import JobClass, JobSource, JobState, Recovery
from llmjobs_core.store.encode import (
    as_int,
    as_list,
    as_optional_int,
    as_text,
    parse_line,
    unpack_ids,
)

RECORD_FIELDS = tuple(
    """
    st pool model kind ep cls name lab src owner res user rec reason msg att bl cost total nrun nok
    nfail ncan nretry pt ct rg ecode emsg worker retry_of ad qd ttl created queued started first
    fin nb exp tok
    """.split()  # noqa: SIM905 - forty names read better as words than as quotes
)

_entry_decoder = msgspec.msgpack.Decoder(list[list[str]])


def parse_record(job_id: str, values: Sequence[object]) -> JobRecord | None:
    """Read the fields of :data:`RECORD_FIELDS`; None where there is no job."""
    if not values[0]:
        return None
    get: Mapping[str, object] = dict(zip(RECORD_FIELDS, values, strict=True))
    state = JobState(as_text(get["st"]))
    total, running = as_int(get["total"]), as_int(get["nrun"])
    ended = [as_int(get[name]) for name in ("nok", "nfail", "ncan")]
    code = as_text(get["ecode"])
    return JobRecord(
        id=job_id,
        pool=PoolKey.parse(as_text(get["pool"])),
        model=as_text(get["model"]),
        kind=JobKind(as_text(get["kind"])),
        endpoint=as_text(get["ep"]),
        job_class=JobClass(as_text(get["cls"])),
        name=as_text(get["name"]),
        labels=parse_labels(as_text(get["lab"])),
        source=JobSource(as_text(get["src"])),
        owner=as_text(get["owner"]),
        resource=as_text(get["res"]),
        user=as_text(get["user"]),
        recovery=Recovery(as_text(get["rec"])),
        state=state,
        reason=as_text(get["reason"]),
        message=as_text(get["msg"]),
        attempts=as_int(get["att"]),
        backoff_limit=as_int(get["bl"]),
        cost=as_int(get["cost"]),
        counts=Counts(
            total=total,
            queued=total - running - sum(ended),
            running=running,
            succeeded=ended[0],
            failed=ended[1],
            cancelled=ended[2],
            retried=as_int(get["nretry"]),
        ),
        usage=Usage(as_int(get["pt"]), as_int(get["ct"]), as_int(get["rg"])),
        error=JobError(code, as_text(get["emsg"])) if code and state != "Succeeded" else None,
        worker=as_text(get["worker"]),
        retry_of=as_text(get["retry_of"]),
        active_deadline_s=as_optional_int(get["ad"]),
        queue_deadline_s=as_optional_int(get["qd"]),
        ttl_s=as_int(get["ttl"]),
        created_ms=as_int(get["created"]),
        queued_ms=as_optional_int(get["queued"]),
        started_ms=as_optional_int(get["started"]),
        first_token_ms=as_optional_int(get["first"]),
        finished_ms=as_optional_int(get["fin"]),
        not_before_ms=as_optional_int(get["nb"]),
        expires_ms=as_optional_int(get["exp"]),
        tokens=as_int(get["tok"]),
    )


def parse_labels(text: str) -> dict[str, str]:
    """Read labels stored as lines of ``name=value``."""
    pairs = (line.partition("=") for line in text.split("\n") if line)
    return {name: value for name, _, value in pairs}


def parse_claims(reply: object) -> tuple[Claim, ...]:
    """Read ``claim.lua``'s reply."""
    return tuple(_parse_claim(as_list(item)) for item in as_list(reply))


def _parse_claim(item: list[object]) -> Claim:
    (ref, fence, pool, model, endpoint, body, recovery, attempt, failures, limit, job_class) = item[
        :11
    ]
    blob, text, token_ids, tokens, prompt_ids, regenerated, partial = item[11:]
    line = parse_line(blob)
    return Claim(
        ref=UnitRef.parse(as_text(ref)),
        fence=as_int(fence),
        pool=PoolKey.parse(as_text(pool)),
        model=as_text(model),
        endpoint=line.endpoint if line else as_text(endpoint),
        body=line.body if line else bytes(body) if isinstance(body, bytes) else b"",
        recovery=Recovery(as_text(recovery)),
        attempt=as_int(attempt),
        failures=as_int(failures),
        backoff_limit=as_int(limit),
        custom_id=line.custom_id if line else "",
        job_class=JobClass(as_text(job_class)),
        text=as_text(text),
        token_ids=unpack_ids(token_ids) if isinstance(token_ids, bytes) else (),
        tokens=as_int(tokens),
        prompt_token_ids=unpack_ids(prompt_ids) if isinstance(prompt_ids, bytes) else (),
        regenerated=as_int(regenerated),
        is_partial=as_int(partial) > 0,
    )


def parse_pool_stats(key: PoolKey, reply: object) -> PoolStats:
    """Read ``pool_stats.lua``'s reply."""
    values = as_list(reply)
    models, concurrency, accepting, reason, message = values[:5]
    backlog, queued, sent, running, slots, workers, cost = (as_int(value) for value in values[5:12])
    cost_rate, request_rate, oldest, active, now = values[12:]
    return PoolStats(
        registration=PoolRegistration(
            key=key,
            models=tuple(name for name in as_text(models).split("\n") if name),
            concurrency=as_int(concurrency),
            accepting=as_text(accepting) == "1",
            reason=as_text(reason),
            message=as_text(message),
        ),
        backlog_jobs=backlog,
        queued=queued,
        dispatched=sent,
        running=running,
        slots=slots,
        workers=workers,
        queued_cost=cost,
        cost_per_s=float(as_text(cost_rate)) if cost_rate else None,
        requests_per_s=float(as_text(request_rate)) if request_rate else None,
        oldest_queued_ms=as_optional_int(oldest),
        last_active_ms=as_optional_int(active),
        now_ms=as_int(now),
    )


def parse_waiting(reply: object) -> Waiting:
    """Read ``position.lua``'s reply."""
    rank, cost = as_list(reply)
    return Waiting(position=as_optional_int(rank), cost_ahead=as_optional_int(cost))


def parse_workers(replies: Sequence[object]) -> tuple[WorkerInfo, ...]:
    """Read the live workers: the sorted set, their slots and what they run."""
    members, slots, running = replies
    places = slots if isinstance(slots, dict) else {}
    counts = running if isinstance(running, dict) else {}
    found: list[WorkerInfo] = []
    for member, expires in members if isinstance(members, list) else ():
        number, _, pool = as_text(places.get(member)).partition(" ")
        if pool:
            found.append(
                WorkerInfo(
                    id=as_text(member),
                    pool=PoolKey.parse(pool),
                    slots=int(number),
                    running=as_int(counts.get(member)),
                    expires_ms=int(expires),
                )
            )
    return tuple(found)


def parse_event(entry_id: object, fields: Mapping[Any, Any]) -> JobEvent:
    """Read an entry of a job's own stream."""
    plain = {as_text(name): as_text(value) for name, value in fields.items()}
    return JobEvent(as_text(entry_id), EventType.parse(plain.pop("t")), plain)


def parse_deliveries(fields: Mapping[bytes, bytes]) -> list[Delivery]:
    """Read an entry of a shard stream: events of some jobs.

    Each has the job, the event's id in its own stream, and the event's fields. Raises
    UnreadableEntry for one in another form.
    """
    found = []
    try:
        for job_id, event_id, _, kind, *plain in _entry_decoder.decode(fields[b"d"]):
            said = dict(zip(plain[::2], plain[1::2], strict=True))
            found.append(Delivery(job_id, JobEvent(event_id, EventType.parse(kind), said)))
    except (KeyError, ValueError) as error:  # msgspec's own are ValueErrors
        raise UnreadableEntry("an entry of a shard stream") from error
    return found


def parse_change(entry_id: object, fields: Mapping[bytes, bytes]) -> Change:
    """Read an entry of the change stream; raises UnreadableEntry for one in another form."""
    plain = {as_text(name): as_text(value) for name, value in fields.items()}
    try:
        return Change(
            as_text(entry_id), plain["j"], plain["o"], plain["ns"], plain["n"], JobState(plain["s"])
        )
    except (KeyError, ValueError) as error:
        raise UnreadableEntry("an entry of the change stream") from error


def build_cursor(last_id: str) -> str:
    """Return an opaque cursor for what comes after *last_id*."""
    return base64.urlsafe_b64encode(b"1" + last_id.encode()).decode().rstrip("=")


def parse_cursor(cursor: str | None) -> str:
    """Return the upper bound of a lexical range; raises InvalidCursor."""
    if cursor is None:
        return "+"
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor("the cursor is not one of this list's") from error
    if not raw.startswith("1job-"):
        raise InvalidCursor("the cursor is not one of this list's")
    return f"({raw[1:]}"


def parse_counters(replies: Sequence[object]) -> Counters:
    """Read the counter hashes, in the order of ``keys.all_counters``."""
    depth, outcomes, submitted, retries, tokens, requests, hist = (
        {tuple(as_text(k).split("|")): as_text(v) for k, v in reply.items()}
        if isinstance(reply, dict)
        else {}
        for reply in replies
    )
    return Counters(
        depth={(p, JobClass(c), JobState(s)): int(v) for (p, c, s), v in depth.items()},
        outcomes={
            (p, JobClass(c), JobState(s), reason): int(v)
            for (p, c, s, reason), v in outcomes.items()
        },
        submitted={(p, JobClass(c)): int(v) for (p, c), v in submitted.items()},
        retries={(p, reason): int(v) for (p, reason), v in retries.items()},
        tokens={(p, kind): int(v) for (p, kind), v in tokens.items()},
        requests={(p, outcome): int(v) for (p, outcome), v in requests.items()},
        histograms=_parse_histograms({(m, p, le): v for (m, p, le), v in hist.items()}),
    )


def _parse_histograms(
    fields: Mapping[tuple[str, str, str], str],
) -> dict[tuple[str, str], Histogram]:
    found: dict[tuple[str, str], Histogram] = {}
    for metric, pool in {(m, p) for m, p, _ in fields}:
        parts = {le: v for (m, p, le), v in fields.items() if (m, p) == (metric, pool)}
        total = float(parts.pop("sum", "0"))
        buckets = {le: int(v) for le, v in parts.items()}
        found[metric, pool] = Histogram(buckets=buckets, sum_s=total, count=sum(buckets.values()))
    return found
