"""What waits, for how long, and whether it gets better."""

from llmjobs_monitoring.dashboards.shared import (
    CHOSEN,
    COMING_AND_GOING,
    OLDEST,
    WAITING_BY_CLASS,
    WHY_WAITING,
    quantiles,
)
from llmjobs_monitoring.panels import Dashboard, Kind, Panel, Query, Row, Unit

_QUEUED = CHOSEN.now("llmjobs_pool_requests_queued", by=("pool",))

_GROWTH = Panel(
    title="Does the backlog grow?",
    description="Requests that wait, more or fewer each second, by the trend of ten minutes. Above "
    "zero for long: more replicas, or less work.",
    queries=(
        Query(
            f"max by (pool) (deriv({CHOSEN.select('llmjobs_pool_requests_queued')}[10m]))",
            "{{pool}}",
        ),
    ),
    unit=Unit.PER_SECOND,
)
_DRAIN = Panel(
    title="When will what waits now be done?",
    description="Waiting requests over the measured rate. Absent while no rate is known.",
    queries=(
        Query(
            f"{_QUEUED} / on (pool) "
            f"({CHOSEN.now('llmjobs_pool_requests_per_second', by=('pool',))} > 0)",
            "{{pool}}",
        ),
    ),
    unit=Unit.SECONDS,
)
_WAITED = Panel(
    title="How long did jobs wait before they started?",
    description="From queueing to the first start, of jobs that started in the interval.",
    queries=quantiles("llmjobs_queue_wait_seconds"),
    unit=Unit.SECONDS,
)
_WAITED_MAP = Panel(
    title="How are the waits spread?",
    description="Starts a second by how long the job had waited.",
    queries=(Query(CHOSEN.buckets("llmjobs_queue_wait_seconds"), "{{le}}"),),
    unit=Unit.PER_SECOND,
    kind=Kind.HEATMAP,
)
_WAITED_POOL = Panel(
    title="In which pool do jobs wait longest?",
    description="The wait that nine of ten jobs stayed below, by pool.",
    queries=(Query(CHOSEN.quantile(0.9, "llmjobs_queue_wait_seconds", by=("pool",)), "{{pool}}"),),
    unit=Unit.SECONDS,
)
_REQUESTS = Panel(
    title="How many requests wait, by pool?",
    description="Batch lines counted each, retries included.",
    queries=(Query(_QUEUED, "{{pool}}"),),
    unit=Unit.COUNT,
    stacked=True,
)
_TOKENS = Panel(
    title="How much work waits?",
    description="Estimated tokens of the requests that wait: what a fair share is reckoned in.",
    queries=(Query(CHOSEN.now("llmjobs_pool_queued_tokens", by=("pool",)), "{{pool}}"),),
    unit=Unit.COUNT,
    stacked=True,
)
_DISPATCHED = Panel(
    title="How many messages lie in Celery's queues?",
    description="Requests handed to the pool's Celery queue and not yet claimed: about two a slot "
    "at most. Celery tools see this, not the whole backlog.",
    queries=(Query(CHOSEN.now("llmjobs_pool_requests_dispatched", by=("pool",)), "{{pool}}"),),
    unit=Unit.COUNT,
)
_HELD = Panel(
    title="Which jobs don't ask to run?",
    description="Suspended by their owners, or pending while their input is still written.",
    queries=(
        Query(CHOSEN.now("llmjobs_jobs", by=("state",), state="Suspended|Pending"), "{{state}}"),
    ),
    unit=Unit.COUNT,
)
_SUBMITTED = Panel(
    title="Which class of jobs comes in?",
    description="Jobs accepted a second, by class.",
    queries=(Query(CHOSEN.rate("llmjobs_jobs_submitted_total", by=("class",)), "{{class}}"),),
    unit=Unit.PER_SECOND,
    stacked=True,
)
_ACCEPTING = Panel(
    title="Which pools take jobs?",
    description="1 while a pool takes jobs, 0 once it is being deleted.",
    queries=(Query(CHOSEN.now("llmjobs_pool_accepting", by=("pool",)), "{{pool}}"),),
    unit=Unit.COUNT,
)

QUEUE = Dashboard(
    uid="llmjobs-queue",
    title="llmjobs / Queue",
    description="What waits, for how long, why, and whether it gets better.",
    rows=(
        Row("What waits now?", (WHY_WAITING, OLDEST, _REQUESTS, WAITING_BY_CLASS)),
        Row("Does it get better?", (COMING_AND_GOING, _GROWTH, _DRAIN, _TOKENS)),
        Row("How long did it take to start?", (_WAITED, _WAITED_MAP, _WAITED_POOL, _SUBMITTED)),
        Row("What else is there?", (_DISPATCHED, _HELD, _ACCEPTING)),
    ),
)
