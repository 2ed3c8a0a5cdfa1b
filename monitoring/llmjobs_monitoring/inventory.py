"""Every metric there is, read from the code that serves it: what dashboards and alerts may name."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family

from llmjobs_api.exporter.families import Snapshot, build_families, build_info, build_up
from llmjobs_api.metrics import GatewayMetrics
from llmjobs_core.pools import Counters
from llmjobs_monitoring.foreign import VLLM_METRICS
from llmjobs_operator.metrics import OperatorMetrics
from llmjobs_worker.metrics import WorkerMetrics


class Source(StrEnum):
    """Who serves a metric."""

    EXPORTER = "exporter"
    """The store's truth. Every exporter tells all of it, so replicas must not be added up."""
    GATEWAY = "gateway"
    OPERATOR = "operator"
    WORKER = "worker"
    """Of one process; its target has the label ``pool`` from the scrape."""
    VLLM = "vllm"
    """Of one engine; its target has the label ``pool`` from the scrape."""


_SCRAPED_WITH_POOL = frozenset({Source.WORKER, Source.VLLM})


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, under the name that queries use (counters with their ``_total``)."""

    name: str
    type: str
    """``counter``, ``gauge`` or ``histogram``."""
    labels: tuple[str, ...]
    text: str
    source: Source

    @property
    def has_pool(self) -> bool:
        """Whether its series are told apart by pool, by themselves or by the scrape."""
        return "pool" in self.labels or self.source in _SCRAPED_WITH_POOL

    @property
    def series(self) -> frozenset[str]:
        """The names of its series."""
        if self.type == "histogram":
            return frozenset(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return frozenset({self.name})


@cache
def list_metrics() -> tuple[Metric, ...]:
    """Return every metric, ours by role and then vLLM's."""
    exporter = [build_up(is_up=True), build_info(), *build_families(Snapshot(Counters(), []))]
    operator = OperatorMetrics(CollectorRegistry())
    found = [
        *_read_families(exporter, Source.EXPORTER),
        *_read_declared(GatewayMetrics(CollectorRegistry()), Source.GATEWAY),
        *_read_declared(operator, Source.OPERATOR),
        *_read_declared(WorkerMetrics(CollectorRegistry()), Source.WORKER),
    ]
    vllm = [Metric(m.name, m.type, m.labels, m.text, Source.VLLM) for m in VLLM_METRICS]
    return (*found, *vllm)


@cache
def _by_name() -> dict[str, Metric]:
    # What several roles serve alike (llmjobs_build_info) is found as the exporter's.
    return {metric.name: metric for metric in reversed(list_metrics())}


def find_metric(name: str) -> Metric:
    """Return the metric *name*; KeyError for one that nobody serves."""
    return _by_name()[name]


@cache
def list_series() -> frozenset[str]:
    """Return the name of every series that a query may select."""
    return frozenset(name for metric in list_metrics() for name in metric.series)


def _read_families(families: Iterable[Family], source: Source) -> Iterator[Metric]:
    for family in families:
        yield _build(family, _label_names(family), source)


def _read_declared(metrics: object, source: Source) -> Iterator[Metric]:
    """Yield what a role declares as attributes, and its build info first."""
    yield next(_read_families([build_info()], source))
    for declared in vars(metrics).values():
        if hasattr(declared, "describe"):
            (family,) = declared.describe()
            yield _build(family, _label_names(declared), source)


def _label_names(declared: Any) -> tuple[str, ...]:
    # The client library has no public way to ask for them.
    return tuple(declared._labelnames)  # noqa: SLF001


def _build(family: Family, labels: tuple[str, ...], source: Source) -> Metric:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Metric(name, family.type, labels, family.documentation.rstrip("."), source)
