"""The operator's metrics, on a registry that is given."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llmjobs_core.build_info import add_build_info
from llmjobs_core.names import PoolKey


class WhileLeading(Collector):
    """Shows gauges while this operator leads: one that stands by does not know, and keeps quiet."""

    def __init__(self, leading: Gauge, gauges: Iterable[Gauge]) -> None:
        self._leading = leading
        self._gauges = tuple(gauges)

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples."""
        return [family for gauge in self._gauges for family in gauge.describe()]

    def collect(self) -> Iterable[Metric]:
        """Return the families; without samples while another leads."""
        is_leading = next(iter(self._leading.collect())).samples[0].value == 1.0
        if not is_leading:
            return self.describe()
        return [family for gauge in self._gauges for family in gauge.collect()]


class OperatorMetrics:
    """Counted where it happens, served by the probes server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        add_build_info(registry, "operator")
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
        self.due = Gauge(
            "llmjobs_operator_due_objects",
            "Objects to look at now, or being looked at.",
            registry=registry,
        )
        self.audits = Counter(
            "llmjobs_operator_audits_total",
            "Comparisons of everything with the API server and the store.",
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
            "Replicas of a pool: needed by its work, desired, ready, and its limits, min and max.",
            ["pool", "kind"],
            registry=None,
        )
        self.replica_gpus = Gauge(
            "llmjobs_pool_replica_gpus",
            "GPUs that one replica of a pool asks for.",
            ["pool"],
            registry=None,
        )
        registry.register(WhileLeading(self.leading, (self.pool_replicas, self.replica_gpus)))

    def forget_pool(self, pool: PoolKey) -> None:
        """Show no replicas of a pool that is gone."""
        self.pool_replicas.remove_by_labels({"pool": str(pool)})
        self.replica_gpus.remove_by_labels({"pool": str(pool)})
