"""Expressions and panels that several dashboards show."""

from llmjobs_monitoring.panels import Panel, Query, Unit, bad_from
from llmjobs_monitoring.promql import Scope, or_zero

CHOSEN = Scope(pools='pool=~"$namespace/$pool"', window="$__rate_interval")
"""The pools that the reader has chosen."""

BAD_ENDS = "Failed|Expired"
"""States of jobs that did not get what they asked for; a cancel is somebody's wish."""

_GPUS_EACH = CHOSEN.now("llmjobs_pool_replica_gpus", by=("pool",))
_DESIRED = CHOSEN.now("llmjobs_pool_replicas", by=("pool",), kind="desired")
GPUS_BY_POOL = f"{_DESIRED} * on (pool) {_GPUS_EACH}"
"""GPUs that each pool's replicas ask for, ready or not: what is paid for."""
GPUS = f"sum ({GPUS_BY_POOL})"


def failed_share(window: str) -> str:
    """Return the share of jobs that ended badly within *window*."""
    bad = CHOSEN.increase("llmjobs_jobs_ended_total", window=window, state=BAD_ENDS)
    return f"{or_zero(bad)} / {CHOSEN.increase('llmjobs_jobs_ended_total', window=window)}"


def busy_share(by_pool: bool) -> str:
    """Return the share of slots that run a request."""
    by = ("pool",) if by_pool else ()
    running = CHOSEN.now("llmjobs_pool_requests_running", by=by)
    return f"{running} / ({CHOSEN.now('llmjobs_pool_slots', by=by)} > 0)"


def quantiles(name: str) -> tuple[Query, ...]:
    """Return the median and the tail of a histogram."""
    return tuple(Query(CHOSEN.quantile(q, name), f"p{round(q * 100)}") for q in (0.5, 0.9, 0.99))


WHY_WAITING = Panel(
    title="Why do requests wait?",
    description="Requests that wait, by what holds them. WaitingForSlot is an ordinary queue; "
    "NoWorkers means that nothing runs yet; any other word is the pool's trouble, which "
    "`kubectl describe lwp` spells out.",
    queries=(
        Query(
            CHOSEN.now("llmjobs_pool_requests_waiting", by=("pool", "reason")),
            "{{pool}}: {{reason}}",
        ),
    ),
    unit=Unit.COUNT,
    stacked=True,
)

WAITING_BY_CLASS = Panel(
    title="How many jobs wait, by class?",
    description="Queued jobs. Interactive ones should pass quickly whatever else waits; batch "
    "may wait for hours.",
    queries=(Query(CHOSEN.now("llmjobs_jobs", by=("class",), state="Queued"), "{{class}}"),),
    unit=Unit.COUNT,
    stacked=True,
)

OLDEST = Panel(
    title="How long has the oldest job waited?",
    description="By pool. A line that climbs without a break: nothing of that pool starts.",
    queries=(Query(CHOSEN.now("llmjobs_pool_oldest_queued_seconds", by=("pool",)), "{{pool}}"),),
    unit=Unit.SECONDS,
    steps=bad_from(1800),
)

COMING_AND_GOING = Panel(
    title="Do jobs come faster than they end?",
    description="Jobs a second. Where arrivals stay above endings, the backlog grows.",
    queries=(
        Query(CHOSEN.rate("llmjobs_jobs_submitted_total"), "submitted"),
        Query(CHOSEN.rate("llmjobs_jobs_ended_total"), "ended"),
    ),
    unit=Unit.PER_SECOND,
)

TOKENS = Panel(
    title="How many tokens a second?",
    description="Prompt tokens read and completion tokens generated, counted when their request "
    "ends. Regenerated tokens were lost with a worker or engine and made again: paid twice.",
    queries=(Query(CHOSEN.rate("llmjobs_tokens_total", by=("type",)), "{{type}}"),),
    unit=Unit.PER_SECOND,
)
