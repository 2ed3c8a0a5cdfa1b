"""What fails, at whose hands, and what is done again."""

from llmjobs_monitoring.dashboards.shared import BAD_ENDS, CHOSEN
from llmjobs_monitoring.panels import Dashboard, Panel, Query, Row, Unit, bad_from
from llmjobs_monitoring.promql import or_zero

_POOL = ("pool",)

_REASONS = Panel(
    title="Why do jobs fail?",
    description="Jobs a second that failed or expired, by reason. Poisoned: it took its worker or "
    "engine with it; RequestFailed: the engine refused it; BackoffLimitExceeded: too many tries.",
    queries=(
        Query(
            CHOSEN.rate("llmjobs_jobs_ended_total", by=("state", "reason"), state=BAD_ENDS),
            "{{state}}: {{reason}}",
        ),
    ),
    unit=Unit.PER_SECOND,
    stacked=True,
)
_DEAD_LETTERS = Panel(
    title="How many failed jobs can be run again?",
    description="Failed and expired jobs that the store still has, by pool: the dead letters. They "
    "go when their TTL passes. `POST /jobs/retry` runs them again.",
    queries=(
        Query(
            CHOSEN.now("llmjobs_jobs", by=("pool", "state"), state=BAD_ENDS), "{{pool}} {{state}}"
        ),
    ),
    unit=Unit.COUNT,
    stacked=True,
)
_SHARE = Panel(
    title="What share of jobs fails, by pool?",
    description="Failed or expired, of those that ended; absent where none ended badly. "
    "Runbook: failure-ratio-high.",
    queries=(
        Query(
            f"{CHOSEN.rate('llmjobs_jobs_ended_total', by=_POOL, state=BAD_ENDS)}"
            f" / on (pool) ({CHOSEN.rate('llmjobs_jobs_ended_total', by=_POOL)} > 0)",
            "{{pool}}",
        ),
    ),
    unit=Unit.RATIO,
    steps=bad_from(0.1),
)
_OUTCOMES = Panel(
    title="How do single requests end?",
    description="Requests a second by outcome: batch lines counted each.",
    queries=(Query(CHOSEN.rate("llmjobs_requests_ended_total", by=("outcome",)), "{{outcome}}"),),
    unit=Unit.PER_SECOND,
    stacked=True,
)
_RETRIES = Panel(
    title="Why are requests run again?",
    description="LeaseLost: a worker died or froze; EngineLost, EngineUnhealthy: its engine did; "
    "Drained: a worker left in order; Crowded: a worker claimed more than it had slots for; "
    "Retrying: the engine answered with an error.",
    queries=(Query(CHOSEN.rate("llmjobs_requests_retried_total", by=("reason",)), "{{reason}}"),),
    unit=Unit.PER_SECOND,
    stacked=True,
)
_CONTINUED = Panel(
    title="How do requests begin at an engine?",
    description="Anew, or going on from what was generated before; a restart throws text away.",
    queries=(Query(CHOSEN.rate("llmjobs_worker_continuations_total", by=("mode",)), "{{mode}}"),),
    unit=Unit.PER_SECOND,
    stacked=True,
)
_LOST = Panel(
    title="What share of tokens is made twice?",
    description="Tokens that were lost with a worker or engine and generated again.",
    queries=(
        Query(
            f"{or_zero(CHOSEN.rate('llmjobs_tokens_total', type='regenerated'))}"
            f" / ({CHOSEN.rate('llmjobs_tokens_total', type='completion')} > 0)",
            "regenerated",
        ),
    ),
    unit=Unit.RATIO,
)
_ENGINE = Panel(
    title="What do engines answer?",
    description="Requests sent to engines, a second, by how they ended at the worker.",
    queries=(
        Query(CHOSEN.rate("llmjobs_worker_engine_requests_total", by=("outcome",)), "{{outcome}}"),
    ),
    unit=Unit.PER_SECOND,
    stacked=True,
)
_UNHEALTHY = Panel(
    title="How many engines are unhealthy?",
    description="Workers whose engine does not answer its health check; they take no work.",
    queries=(Query(f"sum (1 - {CHOSEN.select('llmjobs_worker_engine_healthy')})", "unhealthy"),),
    unit=Unit.COUNT,
    steps=bad_from(1),
)
_ABORTS = Panel(
    title="Why are requests stopped before their end?",
    description="Cancelled by their owners, or given up because this worker lost them.",
    queries=(Query(CHOSEN.rate("llmjobs_worker_aborts_total", by=("reason",)), "{{reason}}"),),
    unit=Unit.PER_SECOND,
)
_REFUSED = Panel(
    title="How many results came too late?",
    description="Results with an old fence, in the interval: another worker had taken over. "
    "Nothing is lost, the work was done twice.",
    queries=(Query(CHOSEN.increase("llmjobs_worker_results_refused_total"), "refused"),),
    unit=Unit.COUNT,
)
_OPERATOR = Panel(
    title="What fails in the operator?",
    description="Attempts a second that failed and are made again, by kind of object and error; "
    "absent until the first. Runbook: scaler-errors.",
    queries=(
        Query(
            CHOSEN.rate("llmjobs_operator_reconcile_errors_total", by=("kind", "error")),
            "{{kind}}: {{error}}",
        ),
    ),
    unit=Unit.PER_SECOND,
)
_GATEWAY = Panel(
    title="What share of answers is a server's error?",
    description="5xx of all answers of the gateways.",
    queries=(
        Query(
            f"{or_zero(CHOSEN.rate('llmjobs_gateway_requests_total', status='5..'))}"
            f" / {CHOSEN.rate('llmjobs_gateway_requests_total')}",
            "5xx",
        ),
    ),
    unit=Unit.RATIO,
    steps=bad_from(0.01),
)

ERRORS = Dashboard(
    uid="llmjobs-errors",
    title="llmjobs / Errors",
    description="What fails, at whose hands, and what is done again.",
    rows=(
        Row("What fails?", (_REASONS, _SHARE, _OUTCOMES, _DEAD_LETTERS)),
        Row("What is done again?", (_RETRIES, _CONTINUED, _LOST, _REFUSED)),
        Row("Who is to blame?", (_ENGINE, _UNHEALTHY, _ABORTS, _OPERATOR, _GATEWAY)),
    ),
)
