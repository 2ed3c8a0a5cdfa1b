"""What must hold whatever happened: the clients' ledger against a recount of the store. Pure.

Each check returns sentences on what is wrong, none if all is well.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from llmjobs_chaos.ledger import Asked, Ledger

_MOST_SENTENCES = 5
"""Of one check: the first few show what is wrong."""


@dataclass(frozen=True, slots=True)
class Found:
    """One job as it stands in the store at the end."""

    state: str
    reason: str
    is_terminal: bool
    results: Mapping[int, str | None]
    """Answer by line (0 for a single job); None where the request failed."""
    told: str
    """The text as its event stream puts it together."""
    ends: Sequence[str]
    """The states of its ``done`` events."""


@dataclass(frozen=True, slots=True)
class Recount:
    """The whole store at the end, once nothing moves any more."""

    jobs: Mapping[str, Found]
    listed: Sequence[str]
    """The ids in the index of all jobs."""
    outcomes: Mapping[str, int]
    """Jobs that ever ended, by state, as the store's counters have it."""
    succeeded_requests: int
    """Requests that ever succeeded, by the counters."""
    complaints: Sequence[str] = field(default=())
    """What the audit of the store's inside found."""
    leftovers: Sequence[str] = field(default=())
    """Keys that are still there once every job's time to live has passed."""
    is_emptied: bool = False
    """Redis was emptied on the way, so its counters have forgotten the time before."""


def check(ledger: Ledger, recount: Recount) -> list[str]:
    """Return everything that is not as it must be."""
    return [
        sentence for one in CHECKS for sentence in islice(one(ledger, recount), _MOST_SENTENCES)
    ]


def check_one_job_per_key(ledger: Ledger, recount: Recount) -> Iterator[str]:
    """A submission that got no good answer, repeated with its key, gives one job."""
    for asked in ledger.jobs:
        if not asked.ids:
            yield f"{asked.key} was never accepted"
        elif len(asked.ids) > 1:
            yield f"{asked.key} made {len(asked.ids)} jobs"
    for job_id in set(recount.listed) - {i for asked in ledger.jobs for i in asked.ids}:
        yield f"{job_id} is in the store, and no client was told of it"


def check_all_ended(ledger: Ledger, recount: Recount) -> Iterator[str]:
    """Every accepted job is there and has ended."""
    for asked, found in _pairs(ledger, recount):
        if found is None:
            yield f"{asked.key} was accepted and is lost"
        elif not found.is_terminal:
            yield f"{asked.key} never ended: it is {found.state}"


def check_sums(ledger: Ledger, recount: Recount) -> Iterator[str]:
    """Succeeded + failed + cancelled = accepted, by the jobs and by the counters."""
    counted = Counter(found.state for found in recount.jobs.values())
    if counted.total() != len(ledger.accepted):
        yield f"{len(ledger.accepted)} jobs were accepted, {counted.total()} are there"
    if not recount.is_emptied and dict(counted) != dict(recount.outcomes):
        yield f"the counters say {dict(recount.outcomes)} ended, the jobs {dict(counted)}"
    answers = sum(
        text is not None for found in recount.jobs.values() for text in found.results.values()
    )
    if not recount.is_emptied and answers != recount.succeeded_requests:
        yield f"{recount.succeeded_requests} requests completed, with {answers} results"


def check_none_failed(ledger: Ledger, recount: Recount) -> Iterator[str]:
    """Every request is a good one, so faults of the system alone must fail none."""
    for asked, found in _pairs(ledger, recount):
        if found is None or not found.is_terminal:
            continue
        if found.state not in {"Succeeded", "Cancelled"} or None in found.results.values():
            yield f"{asked.key} is {found.state} ({found.reason})"


def check_one_exact_result(ledger: Ledger, recount: Recount) -> Iterator[str]:
    """A job that succeeded has exactly one result for each request: the right text."""
    for asked, found in _pairs(ledger, recount):
        if found is None or found.state != "Succeeded":
            continue
        if set(found.results) != set(range(len(asked.requests))):
            yield f"{asked.key} has {len(found.results)} results for {len(asked.requests)} requests"
        for line, wanted in enumerate(asked.requests):
            if found.results.get(line) != wanted.text:
                yield f"{asked.key} line {line} has a wrong text"


def check_told_text(ledger: Ledger, recount: Recount) -> Iterator[str]:
    """The event stream of a single job gives the same text, each character once."""
    for asked, found in _pairs(ledger, recount):
        if found is None or asked.is_batch:
            continue
        whole = asked.requests[0].text
        if found.state == "Succeeded" and found.told != whole:
            yield f"{asked.key}: its events do not give its text"
        elif not whole.startswith(found.told):
            yield f"{asked.key}: its events give a wrong text"


def check_watchers(ledger: Ledger, recount: Recount) -> Iterator[str]:
    """A client that watched, whatever gateways it went through, saw each character once."""
    for asked, found in _pairs(ledger, recount):
        watched = asked.watched
        if watched is None or found is None:
            continue
        if watched.ends != [found.state]:
            yield f"{asked.key} is {found.state}; its watcher was told {watched.ends}"
        if not asked.is_batch and watched.text != found.told:
            yield f"{asked.key}: its watcher saw another text than was told"


def check_one_end(ledger: Ledger, recount: Recount) -> Iterator[str]:
    """No terminal state was ever left."""
    for asked, found in _pairs(ledger, recount):
        if found is None:
            continue
        if found.is_terminal and list(found.ends) != [found.state]:
            yield f"{asked.key} is {found.state}, and its events end with {list(found.ends)}"
        if set(asked.ends) - {found.state}:
            yield f"{asked.key} was seen {asked.ends} and is {found.state} now"


def check_cancels(ledger: Ledger, recount: Recount) -> Iterator[str]:
    """A cancel that was acknowledged stands; nothing is cancelled that nobody cancelled."""
    for asked, found in _pairs(ledger, recount):
        if found is not None and asked.is_cancelled != (found.state == "Cancelled"):
            yield f"{asked.key}: cancel acknowledged is {asked.is_cancelled}, it is {found.state}"


def check_store(_: Ledger, recount: Recount) -> Iterator[str]:
    """Every counter equals a recount, and nothing is left behind."""
    yield from recount.complaints
    yield from (f"left behind: {key}" for key in recount.leftovers)


CHECKS: Sequence[Callable[[Ledger, Recount], Iterator[str]]] = (
    check_one_job_per_key,
    check_all_ended,
    check_sums,
    check_none_failed,
    check_one_exact_result,
    check_told_text,
    check_watchers,
    check_one_end,
    check_cancels,
    check_store,
)


def _pairs(ledger: Ledger, recount: Recount) -> Iterator[tuple[Asked, Found | None]]:
    for asked in ledger.accepted:
        for job_id in asked.ids:
            yield asked, recount.jobs.get(job_id)
