"""The operator's metrics, on a registry that is given."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class OperatorMetrics:
    """Counted where it happens, served by the probes server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.leading = Gauge(
            "llmjobs_operator_leading", "1 while this operator acts.", registry=registry
        )
        self.reconcile_seconds = Histogram(
            "llmjobs_operator_reconcile_seconds",
            "Time to bring one object in line.",
            ["kind"],
            # From a look without any call to one that submits a large batch.
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10),
            registry=registry,
        )
        self.reconcile_errors = Counter(
            "llmjobs_operator_reconcile_errors_total",
            "Attempts that failed and are made again.",
            ["kind", "error"],
            registry=registry,
        )
        self.status_writes = Counter(
            "llmjobs_operator_status_writes_total",
            "Status updates sent to the API server.",
            ["kind"],
            registry=registry,
        )
        self.scaling_decisions = Counter(
            "llmjobs_scaling_decisions_total",
            "Changes of a pool's replicas.",
            ["pool", "direction", "reason"],
            registry=registry,
        )
        self.pool_replicas = Gauge(
            "llmjobs_pool_replicas",
            "Replicas of a pool: asked for and ready.",
            ["pool", "kind"],
            registry=registry,
        )
