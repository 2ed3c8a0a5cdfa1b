"""Workers and scaling: who works, how many there should be, who decides, what it costs."""

from llmjobs_monitoring.dashboards.shared import CHOSEN, GPUS, GPUS_BY_POOL, busy_share
from llmjobs_monitoring.panels import Dashboard, Panel, Query, Row, Unit, warn_from

_ALIVE = Panel(
    title="How many workers live?",
    description="By pool: processes that renewed their sign of life in the store.",
    queries=(Query(CHOSEN.now("llmjobs_pool_workers", by=("pool",)), "{{pool}}"),),
    unit=Unit.COUNT,
    stacked=True,
)
_BUSY = Panel(
    title="How busy are they?",
    description="Share of slots that run a request. Near 100 % with a queue: saturated. "
    "Runbook: workers-saturated.",
    queries=(Query(busy_share(by_pool=True), "{{pool}}"),),
    unit=Unit.RATIO,
    steps=warn_from(0.95),
)
_ENGINES = Panel(
    title="How many engines are healthy?",
    description="Workers whose engine answers its health check, and all workers that are scraped.",
    queries=(
        Query(CHOSEN.now("llmjobs_worker_engine_healthy"), "healthy"),
        Query(f"count ({CHOSEN.select('llmjobs_worker_engine_healthy')})", "all"),
    ),
    unit=Unit.COUNT,
)
_SLOTS = Panel(
    title="How many slots are there, and how many are used?",
    description="As the workers say themselves.",
    queries=(
        Query(CHOSEN.now("llmjobs_worker_slots"), "slots"),
        Query(CHOSEN.now("llmjobs_worker_slots_used"), "used"),
    ),
    unit=Unit.COUNT,
)
_REPLICAS = Panel(
    title="Are there as many replicas as wanted?",
    description="Desired above ready for long: pods can't start (image, GPUs, quota); see the "
    "pool's conditions.",
    queries=(
        Query(
            CHOSEN.now("llmjobs_pool_replicas", by=("pool", "kind"), kind="desired|ready"),
            "{{pool}} {{kind}}",
        ),
    ),
    unit=Unit.COUNT,
)
_LIMITS = Panel(
    title="How far can the pools still grow?",
    description="Replicas left up to maxReplicas. 0 with a queue: runbook pool-at-max.",
    queries=(
        Query(
            f"{CHOSEN.now('llmjobs_pool_replicas', by=('pool',), kind='max')}"
            f" - on (pool) {CHOSEN.now('llmjobs_pool_replicas', by=('pool',), kind='desired')}",
            "{{pool}}",
        ),
    ),
    unit=Unit.COUNT,
)
_DECISIONS = Panel(
    title="What did the scaler decide?",
    description="Changes of replicas in the interval, by direction and reason.",
    queries=(
        Query(
            CHOSEN.increase("llmjobs_scaling_decisions_total", by=("pool", "direction", "reason")),
            "{{pool}} {{direction}}: {{reason}}",
        ),
    ),
    unit=Unit.COUNT,
)
_GPUS_PANEL = Panel(
    title="Which pools hold GPUs?",
    description="Replicas asked for times the GPUs of one, ready or not.",
    queries=(Query(GPUS_BY_POOL, "{{pool}}"),),
    unit=Unit.COUNT,
    stacked=True,
)
_IDLE = Panel(
    title="What does idle capacity cost an hour?",
    description="GPUs held times the share of slots that run nothing, times the price above. "
    "Shrink idleSecondsToZero or minReplicas where this stays high.",
    queries=(
        Query(f"{GPUS} * (1 - {busy_share(by_pool=False)}) * $gpu_price", "idle"),
        Query(f"{GPUS} * $gpu_price", "all"),
    ),
    unit=Unit.DOLLARS,
)
_LEADERS = Panel(
    title="Which operator leads?",
    description="1 for the one that acts.",
    queries=(Query("max by (instance) (llmjobs_operator_leading)", "{{instance}}"),),
    unit=Unit.COUNT,
)
_RECONCILE = Panel(
    title="How long does the operator take for one object?",
    description="To bring one LLMJob or pool in line; 99 of 100 took less.",
    queries=(
        Query(
            CHOSEN.quantile(0.99, "llmjobs_operator_reconcile_seconds", by=("kind",)), "{{kind}}"
        ),
    ),
    unit=Unit.SECONDS,
)
_STATUS = Panel(
    title="How much does the operator write?",
    description="Status updates a second; at most one a second for each object.",
    queries=(Query(CHOSEN.rate("llmjobs_operator_status_writes_total", by=("kind",)), "{{kind}}"),),
    unit=Unit.PER_SECOND,
)
_BEATS = Panel(
    title="Do workers keep their leases?",
    description="Renewals a second by result. Failed ones in a row cost a worker its requests "
    "after 5 s.",
    queries=(Query(CHOSEN.rate("llmjobs_worker_beats_total", by=("result",)), "{{result}}"),),
    unit=Unit.PER_SECOND,
)
_VERSIONS = Panel(
    title="Which versions run?",
    description="Processes by role and version; two of one role: a rollout is under way.",
    queries=(Query("count by (role, version) (llmjobs_build_info)", "{{role}} {{version}}"),),
    unit=Unit.COUNT,
    stacked=True,
)

WORKERS = Dashboard(
    uid="llmjobs-workers",
    title="llmjobs / Workers and scaling",
    description="Who works, how many there should be, who decides, and what it costs.",
    has_price=True,
    rows=(
        Row("Who works?", (_ALIVE, _BUSY, _ENGINES, _SLOTS)),
        Row("How many should there be?", (_REPLICAS, _LIMITS, _DECISIONS)),
        Row("What does it cost?", (_GPUS_PANEL, _IDLE)),
        Row("Who decides?", (_LEADERS, _RECONCILE, _STATUS, _BEATS, _VERSIONS)),
    ),
)
