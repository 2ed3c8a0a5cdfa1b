"""What the gateway counts about itself; the store's truth is the exporter's."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from llmjobs_core.build_info import add_build_info

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""From a submission on an idle machine to what a client takes for broken."""


class GatewayMetrics:
    """The gateway's metrics, on a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        add_build_info(registry, "gateway")
        self.requests = Counter(
            "llmjobs_gateway_requests_total",
            "Requests answered, by route template, method and status.",
            ("route", "method", "status"),
            registry=registry,
        )
        self.latency = Histogram(
            "llmjobs_gateway_request_duration_seconds",
            "Time until the answer was sent, by route template; streams and long polls left out.",
            ("route",),
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.submit_latency = Histogram(
            "llmjobs_gateway_submit_duration_seconds",
            "Time from a job's request body to its place in the store.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.open_streams = Gauge(
            "llmjobs_gateway_open_streams",
            "Watchers now: event streams, WebSockets and long polls.",
            registry=registry,
        )
        self.submitted = Counter(
            "llmjobs_gateway_jobs_submitted_total",
            "Jobs accepted here; replays of an idempotency key left out.",
            ("kind",),
            registry=registry,
        )
        self.store_up = Gauge(
            "llmjobs_gateway_store_up",
            "1 while live events arrive from the store.",
            registry=registry,
        )
