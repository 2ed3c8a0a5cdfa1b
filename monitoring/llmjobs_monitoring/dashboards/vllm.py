"""What vLLM says of itself, under vLLM's own names."""

from llmjobs_monitoring.dashboards.shared import CHOSEN, quantiles
from llmjobs_monitoring.panels import Dashboard, Panel, Query, Row, Unit, warn_from

_BATCH = Panel(
    title="How full is the batch?",
    description="Requests that run, and that wait inside the engine. Waiting ones mean that "
    "`concurrency` is above what the KV cache holds.",
    queries=(
        Query(CHOSEN.now("vllm:num_requests_running"), "running"),
        Query(CHOSEN.now("vllm:num_requests_waiting"), "waiting in the engine"),
    ),
    unit=Unit.COUNT,
)
_CACHE = Panel(
    title="How full is the KV cache?",
    description="The fullest engine of each pool. At 100 % requests are preempted and done again.",
    queries=(Query(f"max by (pool) ({CHOSEN.select('vllm:kv_cache_usage_perc')})", "{{pool}}"),),
    unit=Unit.RATIO,
    steps=warn_from(0.95),
)
_TOKENS = Panel(
    title="How many tokens a second do the engines process?",
    description="Prompt tokens read and tokens generated.",
    queries=(
        Query(CHOSEN.rate("vllm:prompt_tokens_total"), "prompt"),
        Query(CHOSEN.rate("vllm:generation_tokens_total"), "generated"),
    ),
    unit=Unit.PER_SECOND,
)
_PREEMPTIONS = Panel(
    title="How often is a request preempted?",
    description="In the interval: the cache was full, and the request is computed again.",
    queries=(Query(CHOSEN.increase("vllm:num_preemptions_total", by=("pool",)), "{{pool}}"),),
    unit=Unit.COUNT,
)
_PREFIX = Panel(
    title="How much of the prompts is in the cache already?",
    description="Share of prompt tokens found in the prefix cache. A continued generation finds "
    "its own prefix there when it stays on an engine.",
    queries=(
        Query(
            f"{CHOSEN.rate('vllm:prefix_cache_hits_total')}"
            f" / ({CHOSEN.rate('vllm:prefix_cache_queries_total')} > 0)",
            "hits",
        ),
    ),
    unit=Unit.RATIO,
)
_ENDS = Panel(
    title="How do requests end in the engine?",
    description="Requests a second. length: the token limit was reached; abort: the worker closed "
    "the stream (cancel, drain, lost lease).",
    queries=(
        Query(
            CHOSEN.rate("vllm:request_success_total", by=("finished_reason",)),
            "{{finished_reason}}",
        ),
    ),
    unit=Unit.PER_SECOND,
    stacked=True,
)
_FIRST = Panel(
    title="How long until the first token?",
    description="From arrival at the engine: its own queue and the reading of the prompt.",
    queries=quantiles("vllm:time_to_first_token_seconds"),
    unit=Unit.SECONDS,
)
_PER_TOKEN = Panel(
    title="How long does each further token take?",
    description="Mean time a token of each request. Rises as the batch fills.",
    queries=quantiles("vllm:request_time_per_output_token_seconds"),
    unit=Unit.SECONDS,
)
_WAIT = Panel(
    title="How long do requests wait inside the engine?",
    description="Should be near zero: waiting belongs into the fair backlog.",
    queries=quantiles("vllm:request_queue_time_seconds"),
    unit=Unit.SECONDS,
)
_WHOLE = Panel(
    title="How long does a request take in the engine?",
    description="From arrival to the last token.",
    queries=quantiles("vllm:e2e_request_latency_seconds"),
    unit=Unit.SECONDS,
)

VLLM = Dashboard(
    uid="llmjobs-vllm",
    title="llmjobs / vLLM",
    description="What the vLLM engines of the pools say of themselves.",
    rows=(
        Row("How full is it?", (_BATCH, _CACHE, _PREEMPTIONS, _PREFIX)),
        Row("How fast is it?", (_FIRST, _PER_TOKEN, _WAIT, _WHOLE)),
        Row("What does it do?", (_TOKENS, _ENDS)),
    ),
)
