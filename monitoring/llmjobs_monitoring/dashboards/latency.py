"""How long things take, from the submission to the last token."""

from llmjobs_monitoring.dashboards.shared import CHOSEN, quantiles
from llmjobs_monitoring.panels import Dashboard, Kind, Panel, Query, Row, Unit, warn_from

_SLOTS_USED = CHOSEN.now("llmjobs_worker_slots_used")

_FIRST = Panel(
    title="How long until the first token, from submission?",
    description="Waiting in the queue included: what a user feels.",
    queries=quantiles("llmjobs_time_to_first_token_seconds"),
    unit=Unit.SECONDS,
)
_FIRST_MAP = Panel(
    title="How are the times to the first token spread?",
    description="First tokens a second by the time since submission.",
    queries=(Query(CHOSEN.buckets("llmjobs_time_to_first_token_seconds"), "{{le}}"),),
    unit=Unit.PER_SECOND,
    kind=Kind.HEATMAP,
)
_ENGINE_FIRST = Panel(
    title="How long does the engine take to its first token?",
    description="From sending a request to its first piece of a stream, without the queue. High: "
    "long prompts or an engine that is full. Runbook: ttft-high.",
    queries=quantiles("llmjobs_worker_engine_first_token_seconds"),
    unit=Unit.SECONDS,
    steps=warn_from(30),
)
_FIRST_POOL = Panel(
    title="In which pool does the first token take longest?",
    description="95 of 100 requests got theirs sooner, from submission.",
    queries=(
        Query(
            CHOSEN.quantile(0.95, "llmjobs_time_to_first_token_seconds", by=("pool",)), "{{pool}}"
        ),
    ),
    unit=Unit.SECONDS,
)
_DURATION = Panel(
    title="How long do jobs take in all?",
    description="From submission to the end, whatever end.",
    queries=quantiles("llmjobs_job_duration_seconds"),
    unit=Unit.SECONDS,
)
_WAIT = Panel(
    title="How long of it do they wait?",
    description="From queueing to the first start.",
    queries=quantiles("llmjobs_queue_wait_seconds"),
    unit=Unit.SECONDS,
)
_STREAM = Panel(
    title="How fast is one stream?",
    description="Tokens a second that one running request gets: what the engines send, over the "
    "slots in use. Falls when too many share a GPU.",
    queries=(
        Query(
            f"{CHOSEN.rate('llmjobs_worker_tokens_total')} / ({_SLOTS_USED} > 0)",
            "tokens a second",
        ),
    ),
    unit=Unit.PER_SECOND,
)
_DURATION_POOL = Panel(
    title="In which pool do jobs take longest?",
    description="Nine of ten jobs were done sooner, from submission.",
    queries=(
        Query(CHOSEN.quantile(0.9, "llmjobs_job_duration_seconds", by=("pool",)), "{{pool}}"),
    ),
    unit=Unit.SECONDS,
)
_WRITES = Panel(
    title="How long does a write of progress take?",
    description="One round trip to Redis with the progress of all requests of a worker. Tens of "
    "milliseconds: Redis or the network is slow.",
    queries=quantiles("llmjobs_worker_progress_write_seconds"),
    unit=Unit.SECONDS,
)
_SUBMIT = Panel(
    title="How long does a submission take?",
    description="In the gateway, from the body to the job's place in the store.",
    queries=quantiles("llmjobs_gateway_submit_duration_seconds"),
    unit=Unit.SECONDS,
)

LATENCY = Dashboard(
    uid="llmjobs-latency",
    title="llmjobs / Latency",
    description="How long things take, from the submission to the last token.",
    rows=(
        Row("When does the first token come?", (_FIRST, _ENGINE_FIRST, _FIRST_MAP, _FIRST_POOL)),
        Row("When is it done?", (_DURATION, _WAIT, _STREAM, _DURATION_POOL)),
        Row("What do we add ourselves?", (_SUBMIT, _WRITES)),
    ),
)
