"""Reads what a store came to, once nothing moves any more. All its I/O is with Redis."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import redis

from llmjobs_chaos.cluster import POOL, Cluster
from llmjobs_chaos.invariants import Found, Recount
from llmjobs_chaos.ledger import Asked, Ledger
from llmjobs_core.errors import StoreUnavailable
from llmjobs_core.jobs import JobKind, JobRecord, UnitResult
from llmjobs_core.store import JobStore
from llmjobs_testing.audit import Audit

_PAGE = 500
_AT_ONCE = 50
_LOOK_EVERY_S = 0.5
_SWEEP_TIMEOUT_S = 60.0
_STANDING = frozenset(
    {
        "changes", "depth", "hist", "hold", "late", "outcomes", "pools", "reaped", "requests",
        "retries", "submitted", "tokens", "workers", "wrun", "wslots",
    }
)  # fmt: skip
_STANDING_KINDS = ("models:", "pool:", "rate:", "shard:", "vt:", "flows:")
"""Keys that belong to pools and to the whole store, not to any job."""


async def wait_all_ended(cluster: Cluster, ledger: Ledger, *, timeout_s: float) -> float:
    """Look at the accepted jobs until all have ended; notes every terminal state it sees.

    Returns the seconds it took. Where they do not end in time it returns as well: the invariants
    then say which.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while loop.time() - began_s < timeout_s:
        with suppress(StoreUnavailable):  # it is one of the faults
            if await note_ends(cluster.store, ledger.accepted) == 0:
                break
        await asyncio.sleep(_LOOK_EVERY_S)
    return loop.time() - began_s


async def watch_ends(cluster: Cluster, ledger: Ledger) -> None:
    """Note the terminal states of all jobs again and again, until cancelled."""
    while True:
        with suppress(StoreUnavailable):  # it is one of the faults
            await note_ends(cluster.store, ledger.accepted, again=True)
        await asyncio.sleep(1.0)


async def note_ends(store: JobStore, jobs: Sequence[Asked], *, again: bool = False) -> int:
    """Note who has ended; returns how many have not. With *again*, look at the ended too."""
    looked = [asked for asked in jobs if again or not asked.ends]
    left = 0
    for at in range(0, len(looked), _PAGE):
        page = looked[at : at + _PAGE]
        records = await store.fetch_many([asked.id for asked in page])
        for asked, record in zip(page, records, strict=True):
            if record is not None and record.state.is_terminal:
                asked.note_end(str(record.state))
            else:
                left += 1
    return left


async def read_end_times(cluster: Cluster, ledger: Ledger) -> dict[str, float]:
    """Return when each job ended, in seconds since the epoch; those that did not are left out."""
    records = await cluster.store.fetch_many([asked.id for asked in ledger.accepted])
    return {
        record.id: record.finished_ms / 1000
        for record in records
        if record is not None and record.finished_ms is not None
    }


async def recount(cluster: Cluster, ledger: Ledger, *, is_emptied: bool = False) -> Recount:
    """Read everything, then let every job's time to live pass and see what stays."""
    ids = [job_id for asked in ledger.accepted for job_id in asked.ids]
    found: dict[str, Found] = {}
    for page in _pages(ids):
        records = [r for r in await cluster.store.fetch_many(page) if r is not None]
        read = await asyncio.gather(*(_read_job(cluster.store, record) for record in records))
        found |= {record.id: job for record, job in zip(records, read, strict=True)}
    counters = await cluster.store.fetch_counters()
    outcomes: Counter[str] = Counter()
    for (_, _, state, _), count in counters.outcomes.items():
        outcomes[str(state)] += count
    listed = await _list_ids(cluster.store)
    complaints = await asyncio.to_thread(_audit, cluster.valkey.url)
    return Recount(
        jobs=found,
        listed=listed,
        outcomes=outcomes,
        succeeded_requests=counters.requests.get((str(POOL), "succeeded"), 0),
        complaints=complaints,
        leftovers=await _sweep(cluster, listed),
        is_emptied=is_emptied,
    )


def _pages(ids: Sequence[str]) -> list[Sequence[str]]:
    """Return *ids* in pages that fit into the client's connections."""
    return [ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE)]


async def _read_job(store: JobStore, record: JobRecord) -> Found:
    results = await store.fetch_results(record.id, 0, record.counts.total)
    events = await store.fetch_events(record.id, limit=1_000_000)
    told = ""
    for event in events:
        if event.type == "reset":
            told = ""
        elif event.type == "delta" and record.kind is JobKind.REQUEST:
            told += event.fields["text"]
    return Found(
        state=str(record.state),
        reason=f"{record.reason}: {record.message}",
        is_terminal=record.state.is_terminal,
        results={result.line: parse_answer(result) for result in results if result is not None},
        told=told,
        ends=[event.fields["state"] for event in events if event.type == "done"],
    )


def parse_answer(result: UnitResult) -> str | None:
    """Return the text of a stored chat answer; None for an error."""
    if not result.ok:
        return None
    return str(json.loads(result.body)["choices"][0]["message"]["content"])


async def _list_ids(store: JobStore) -> list[str]:
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.list_jobs(None, limit=_PAGE, cursor=cursor)
        ids += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            return ids


def _audit(url: str) -> list[str]:
    with redis.Redis.from_url(url) as client:
        try:
            Audit(client, [str(POOL)]).check()
        except AssertionError as error:
            return [f"the audit of the store: {error}"]
    return []


async def _sweep(cluster: Cluster, ids: Sequence[str]) -> list[str]:
    """End every job's time to live and return the keys that stay though they should not."""
    for page in _pages(ids):
        await asyncio.gather(*(cluster.store.reclassify(job_id, ttl_s=0) for job_id in page))
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + _SWEEP_TIMEOUT_S
    while await cluster.store.client.zcard("llmjobs:gc") and loop.time() < deadline_s:
        await cluster.store.reap(limit=2_000)
        await asyncio.sleep(0.05)
    left = []
    async for key in cluster.store.client.scan_iter("llmjobs:*", count=1000):
        name = key.decode().removeprefix("llmjobs:")
        is_standing = name in _STANDING or name.startswith(_STANDING_KINDS)
        if not is_standing and await cluster.store.client.pttl(key) == -1:
            left.append(name)
    return left
