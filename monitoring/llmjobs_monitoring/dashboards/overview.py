"""The first page at night: is it up, what waits and why, what gets done, what does it cost."""

from llmjobs_monitoring.dashboards.shared import (
    CHOSEN,
    COMING_AND_GOING,
    GPUS,
    OLDEST,
    TOKENS,
    WAITING_BY_CLASS,
    WHY_WAITING,
    busy_share,
    failed_share,
)
from llmjobs_monitoring.panels import (
    Colour,
    Dashboard,
    Kind,
    Panel,
    Query,
    Row,
    Step,
    Unit,
    bad_from,
    stat,
    warn_from,
)

_STORE = Panel(
    title="Can Redis be read?",
    description="By at least one exporter. While it can't, everything that is told from the store "
    "is absent, not zero; running generations go on. Runbook: broker-down.",
    queries=(Query("max (llmjobs_store_up)", "Redis"),),
    unit=Unit.COUNT,
    kind=Kind.STAT,
    width=4,
    height=4,
    words=((0, "no", Colour.BAD), (1, "yes", Colour.GOOD)),
    steps=(Step(None, Colour.BAD), Step(1, Colour.GOOD)),
)
_LEADER = stat(
    "How many operators lead?",
    "One should. With none, no LLMJob is taken in and no pool is scaled; HTTP jobs go on. "
    "Runbook: no-leader.",
    "sum (llmjobs_operator_leading)",
    Unit.COUNT,
    Step(None, Colour.BAD),
    Step(1, Colour.GOOD),
    Step(2, Colour.BAD),
)
_GATEWAYS = stat(
    "How many gateways hear from Redis?",
    "Gateways that receive live events now. Compare with the Deployment's replicas.",
    "sum (llmjobs_gateway_store_up)",
    Unit.COUNT,
    Step(None, Colour.BAD),
    Step(1, Colour.GOOD),
)
_WAITING = stat(
    "How many requests wait?",
    "Batch lines counted each, retries included.",
    CHOSEN.now("llmjobs_pool_requests_queued"),
    Unit.COUNT,
)
_OLDEST = stat(
    "How long has the oldest waited?",
    "In any of the chosen pools. Runbook: oldest-job-too-old.",
    f"max ({CHOSEN.select('llmjobs_pool_oldest_queued_seconds')})",
    Unit.SECONDS,
    *bad_from(1800),
)
_FAILED = stat(
    "What share of jobs failed?",
    "Failed or expired, of all that ended in the shown time; no value if none ended. "
    "Runbook: failure-ratio-high.",
    failed_share("$__range"),
    Unit.RATIO,
    *bad_from(0.1),
)
_WORKERS = stat(
    "How many workers live?",
    "Processes that renewed their sign of life in the store.",
    CHOSEN.now("llmjobs_pool_workers"),
    Unit.COUNT,
)
_BUSY = stat(
    "How busy are the slots?",
    "Share of slots that run a request; no value while there are no slots.",
    busy_share(by_pool=False),
    Unit.RATIO,
    *warn_from(0.95),
)
_GPUS = stat(
    "How many GPUs are held?",
    "Asked for by the pools' replicas, ready or not, busy or not.",
    GPUS,
    Unit.COUNT,
)
_COST = stat(
    "What do they cost an hour?",
    "GPUs held times the price at the top of the page.",
    f"{GPUS} * $gpu_price",
    Unit.DOLLARS,
)
_SPEED = stat(
    "How many tokens are generated a second?",
    "As workers receive them from their engines, over all chosen pools.",
    CHOSEN.rate("llmjobs_worker_tokens_total"),
    Unit.PER_SECOND,
)
_UNIT_COST = stat(
    "What do a million tokens cost?",
    "The hour's GPUs over the tokens generated at the present rate; no value while none are.",
    f"{GPUS} * $gpu_price / ({CHOSEN.rate('llmjobs_worker_tokens_total')} * 3600 / 1e6 > 0)",
    Unit.DOLLARS,
)

_POOLS = Panel(
    title="How does each pool stand?",
    description="One line a pool, the longest wait first. Waiting without workers: look at the "
    "pool's conditions. Desired above ready: pods that can't start.",
    queries=(
        Query(CHOSEN.now("llmjobs_pool_oldest_queued_seconds", by=("pool",)), "oldest waits"),
        Query(CHOSEN.now("llmjobs_pool_requests_queued", by=("pool",)), "waiting"),
        Query(CHOSEN.now("llmjobs_pool_requests_running", by=("pool",)), "running"),
        Query(CHOSEN.now("llmjobs_pool_slots", by=("pool",)), "slots"),
        Query(CHOSEN.now("llmjobs_pool_workers", by=("pool",)), "workers"),
        Query(CHOSEN.now("llmjobs_pool_replicas", by=("pool",), kind="desired"), "desired"),
        Query(CHOSEN.now("llmjobs_pool_replicas", by=("pool",), kind="ready"), "ready"),
    ),
    unit=Unit.COUNT,
    kind=Kind.TABLE,
    width=16,
    column_units=(("oldest waits", Unit.SECONDS),),
)
_ALERTS = Panel(
    title="Which alerts fire?",
    description="Each has a page in docs/runbooks; empty when all is well.",
    queries=(
        Query(
            'count by (alertname, severity, pool) (ALERTS{alertname=~"LLMJobs.+", '
            'alertstate="firing"})',
            "count",
        ),
    ),
    unit=Unit.COUNT,
    kind=Kind.TABLE,
    width=8,
)
_ENDS = Panel(
    title="How do jobs end?",
    description="Jobs a second by final state.",
    queries=(Query(CHOSEN.rate("llmjobs_jobs_ended_total", by=("state",)), "{{state}}"),),
    unit=Unit.PER_SECOND,
    stacked=True,
)
_WORK = Panel(
    title="How much of the capacity is used?",
    description="Requests at engines, and the slots that the living workers have for them.",
    queries=(
        Query(CHOSEN.now("llmjobs_pool_requests_running"), "running"),
        Query(CHOSEN.now("llmjobs_pool_slots"), "slots"),
    ),
    unit=Unit.COUNT,
)

OVERVIEW = Dashboard(
    uid="llmjobs-overview",
    title="llmjobs / Overview",
    description="Is it up, what waits and why, what gets done, and what does it cost?",
    has_price=True,
    rows=(
        Row("Is it up?", (_STORE, _LEADER, _GATEWAYS, _WAITING, _OLDEST, _FAILED)),
        Row("What does it cost?", (_WORKERS, _BUSY, _GPUS, _COST, _SPEED, _UNIT_COST)),
        Row("What waits, and why?", (_POOLS, _ALERTS, WHY_WAITING, OLDEST)),
        Row("What gets done?", (COMING_AND_GOING, _ENDS, WAITING_BY_CLASS, _WORK, TOKENS)),
    ),
)
