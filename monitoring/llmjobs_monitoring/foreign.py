"""Metrics of others that dashboards read: vLLM's, by the names of its V1 engine."""

from dataclasses import dataclass

_ENGINE = ("model_name", "engine")


@dataclass(frozen=True, slots=True)
class ForeignMetric:
    """A metric that another program serves."""

    name: str
    type: str
    text: str
    labels: tuple[str, ...] = _ENGINE


VLLM_METRICS = (
    ForeignMetric("vllm:num_requests_running", "gauge", "Requests in the running batch"),
    ForeignMetric("vllm:num_requests_waiting", "gauge", "Requests that wait inside the engine"),
    ForeignMetric("vllm:kv_cache_usage_perc", "gauge", "Share of the KV cache in use, 0 to 1"),
    ForeignMetric("vllm:num_preemptions_total", "counter", "Requests put back for lack of cache"),
    ForeignMetric("vllm:prefix_cache_queries_total", "counter", "Tokens looked up in the cache"),
    ForeignMetric("vllm:prefix_cache_hits_total", "counter", "Of those, tokens found there"),
    ForeignMetric("vllm:prompt_tokens_total", "counter", "Prompt tokens processed"),
    ForeignMetric("vllm:generation_tokens_total", "counter", "Tokens generated"),
    ForeignMetric(
        "vllm:request_success_total",
        "counter",
        "Requests that ended, by how",
        (*_ENGINE, "finished_reason"),
    ),
    ForeignMetric(
        "vllm:time_to_first_token_seconds", "histogram", "From arrival at the engine to a token"
    ),
    ForeignMetric(
        "vllm:request_time_per_output_token_seconds", "histogram", "Mean time a token, by request"
    ),
    ForeignMetric(
        "vllm:e2e_request_latency_seconds", "histogram", "From arrival at the engine to the end"
    ),
    ForeignMetric(
        "vllm:request_queue_time_seconds", "histogram", "Time spent waiting inside the engine"
    ),
)
"""Source: ``vllm/v1/metrics/loggers.py``, where counters are declared without ``_total``."""
