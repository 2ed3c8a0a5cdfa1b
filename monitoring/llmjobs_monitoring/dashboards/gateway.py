"""The gateway: who asks for what, what they are answered, and how fast."""

from llmjobs_monitoring.dashboards.shared import CHOSEN, quantiles
from llmjobs_monitoring.panels import Dashboard, Panel, Query, Row, Unit, bad_from
from llmjobs_monitoring.promql import or_zero

_REQUESTS = "llmjobs_gateway_requests_total"

_BY_STATUS = Panel(
    title="What does the gateway answer?",
    description="Answers a second by status. 429 and 503 tell clients to come back later.",
    queries=(Query(CHOSEN.rate(_REQUESTS, by=("status",)), "{{status}}"),),
    unit=Unit.REQUESTS_PER_SECOND,
    stacked=True,
)
_ERRORS = Panel(
    title="What share of answers is an error?",
    description="5xx are ours or Redis's, 4xx the clients'.",
    queries=(
        Query(f"{or_zero(CHOSEN.rate(_REQUESTS, status='5..'))} / {CHOSEN.rate(_REQUESTS)}", "5xx"),
        Query(f"{or_zero(CHOSEN.rate(_REQUESTS, status='4..'))} / {CHOSEN.rate(_REQUESTS)}", "4xx"),
    ),
    unit=Unit.RATIO,
    steps=bad_from(0.05),
)
_BY_ROUTE = Panel(
    title="Which routes are used?",
    description="Answers a second by route and method.",
    queries=(Query(CHOSEN.rate(_REQUESTS, by=("route", "method")), "{{method}} {{route}}"),),
    unit=Unit.REQUESTS_PER_SECOND,
    stacked=True,
)
_FAILING_ROUTE = Panel(
    title="Which routes fail?",
    description="4xx and 5xx answers a second by route and status; absent until the first.",
    queries=(
        Query(
            CHOSEN.rate(_REQUESTS, by=("route", "status"), status="4..|5.."),
            "{{status}} {{route}}",
        ),
    ),
    unit=Unit.REQUESTS_PER_SECOND,
    stacked=True,
)
_LATENCY = Panel(
    title="How long does an answer take?",
    description="Until it was sent; streams left out.",
    queries=quantiles("llmjobs_gateway_request_duration_seconds"),
    unit=Unit.SECONDS,
)
_SLOW_ROUTE = Panel(
    title="Which routes are slow?",
    description="95 of 100 answers were sent sooner.",
    queries=(
        Query(
            CHOSEN.quantile(0.95, "llmjobs_gateway_request_duration_seconds", by=("route",)),
            "{{route}}",
        ),
    ),
    unit=Unit.SECONDS,
)
_SUBMIT = Panel(
    title="How long does a submission take?",
    description="From the body to the job's place in the store.",
    queries=quantiles("llmjobs_gateway_submit_duration_seconds"),
    unit=Unit.SECONDS,
)
_STREAMS = Panel(
    title="How many watch?",
    description="Event streams, WebSockets and long polls now, by gateway; LLMJOBS_MAX_STREAMS is "
    "the limit of each.",
    queries=(Query("sum by (instance) (llmjobs_gateway_open_streams)", "{{instance}}"),),
    unit=Unit.COUNT,
    stacked=True,
)
_KINDS = Panel(
    title="What is submitted?",
    description="Jobs accepted a second by kind; replays of an idempotency key left out.",
    queries=(Query(CHOSEN.rate("llmjobs_gateway_jobs_submitted_total", by=("kind",)), "{{kind}}"),),
    unit=Unit.PER_SECOND,
    stacked=True,
)
_HEARS = Panel(
    title="Which gateways hear from Redis?",
    description="1 while live events arrive; at 0 its streams stay open and wait.",
    queries=(Query("max by (instance) (llmjobs_gateway_store_up)", "{{instance}}"),),
    unit=Unit.COUNT,
)

GATEWAY = Dashboard(
    uid="llmjobs-gateway",
    title="llmjobs / Gateway",
    description="Who asks for what, what they are answered, and how fast.",
    has_pools=False,
    rows=(
        Row("What is answered?", (_BY_STATUS, _ERRORS, _BY_ROUTE, _FAILING_ROUTE)),
        Row("How fast?", (_LATENCY, _SLOW_ROUTE, _SUBMIT)),
        Row("Who watches, who submits?", (_STREAMS, _KINDS, _HEARS)),
    ),
)
