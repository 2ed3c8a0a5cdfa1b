"""The worker's metrics, on a registry given to it. The truth about jobs is the exporter's."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from llmjobs_core.build_info import add_build_info

_WRITE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 3.0)
"""Half a millisecond is a good round trip, three seconds the timeout."""
_FIRST_TOKEN_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""From a cached prompt to one of a million tokens."""


class WorkerMetrics:
    """Everything that the worker counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        add_build_info(registry, "worker")
        self.slots = Gauge(
            "llmjobs_worker_slots", "Requests that may be at the engine at once", registry=registry
        )
        self.slots_used = Gauge(
            "llmjobs_worker_slots_used", "Requests that hold a slot now", registry=registry
        )
        self.engine_healthy = Gauge(
            "llmjobs_worker_engine_healthy",
            "1 while the engine answers its health check",
            registry=registry,
        )
        self.requests = Counter(
            "llmjobs_worker_engine_requests",
            "Requests that were sent to the engine, by how they ended here",
            ["outcome"],
            registry=registry,
        )
        self.continuations = Counter(
            "llmjobs_worker_continuations",
            "Requests by how they relate to what was generated before",
            ["mode"],
            registry=registry,
        )
        self.tokens = Counter(
            "llmjobs_worker_tokens", "Completion tokens that the engine sent", registry=registry
        )
        self.first_token = Histogram(
            "llmjobs_worker_engine_first_token_seconds",
            "From sending a request to its first piece of a stream",
            buckets=_FIRST_TOKEN_BUCKETS,
            registry=registry,
        )
        self.progress_write = Histogram(
            "llmjobs_worker_progress_write_seconds",
            "One write of all progress to the store",
            buckets=_WRITE_BUCKETS,
            registry=registry,
        )
        self.beats = Counter(
            "llmjobs_worker_beats", "Lease renewals, by result", ["result"], registry=registry
        )
        self.refused = Counter(
            "llmjobs_worker_results_refused",
            "Results and failures that came too late: their fence was old",
            registry=registry,
        )
        self.aborted = Counter(
            "llmjobs_worker_aborts",
            "Requests that were stopped here before their end, by reason",
            ["reason"],
            registry=registry,
        )
