"""Small pieces of PromQL that can't name a metric, or a label, that does not exist.

The store's numbers are told by every exporter alike, and a pool's replicas by whoever leads, so
they are first reduced to one of each with ``max``; what processes count themselves is added up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmjobs_monitoring.inventory import Metric, Source, find_metric


class WrongQuery(ValueError):
    """A query asks a metric for what it does not have."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which pools a query is about, and over which time rates are taken."""

    pools: str = ""
    """A matcher of the label ``pool``; empty for all."""
    window: str = "5m"

    def select(self, name: str, **where: str) -> str:
        """Return a selector of the series *name*; *where* maps labels to patterns."""
        return self._select(_metric_of(name), name, where)

    def now(self, name: str, by: Sequence[str] = (), **where: str) -> str:
        """Return a gauge's value now, added up *by* these labels."""
        metric = find_metric(name)
        return _add_up(metric, self._select(metric, name, where), by)

    def rate(self, name: str, by: Sequence[str] = (), *, window: str = "", **where: str) -> str:
        """Return how fast a counter rises, a second, added up *by* these labels."""
        return self._over_time("rate", name, by, window, where)

    def increase(self, name: str, by: Sequence[str] = (), *, window: str = "", **where: str) -> str:
        """Return by how much a counter rose, added up *by* these labels."""
        return self._over_time("increase", name, by, window, where)

    def quantile(
        self, q: float, name: str, by: Sequence[str] = (), *, window: str = "", **where: str
    ) -> str:
        """Return the *q* quantile of a histogram's observations *by* these labels."""
        return f"histogram_quantile({q}, {self.buckets(name, by, window=window, **where)})"

    def buckets(self, name: str, by: Sequence[str] = (), *, window: str = "", **where: str) -> str:
        """Return the rates of a histogram's buckets *by* these labels and ``le``."""
        return self._over_time("rate", f"{name}_bucket", ("le", *by), window, where)

    def _over_time(
        self, function: str, name: str, by: Sequence[str], window: str, where: dict[str, str]
    ) -> str:
        metric = _metric_of(name)
        if metric.type == "gauge":
            raise WrongQuery(f"{name} is a gauge: it has no rate")
        inner = f"{function}({self._select(metric, name, where)}[{window or self.window}])"
        return _add_up(metric, inner, by)

    def _select(self, metric: Metric, name: str, where: dict[str, str]) -> str:
        _check_labels(metric, where, metric.labels)
        matchers = [self.pools] if self.pools and metric.has_pool else []
        matchers += [_match(label, pattern) for label, pattern in where.items()]
        return f"{name}{{{', '.join(matchers)}}}" if matchers else name


def _metric_of(series: str) -> Metric:
    """Return the metric of a series; a histogram's are named after its parts."""
    base, _, part = series.rpartition("_")
    return find_metric(base if part in {"bucket", "sum", "count"} else series)


def _check_labels(metric: Metric, wanted: Iterable[str], known: Iterable[str]) -> None:
    unknown = set(wanted) - set(known)
    if unknown:
        raise WrongQuery(f"{metric.name} has no label {', '.join(sorted(unknown))}")


def _match(label: str, pattern: str) -> str:
    return f'{label}=~"{pattern}"' if set(pattern) & set("|.*+") else f'{label}="{pattern}"'


def _add_up(metric: Metric, inner: str, by: Sequence[str]) -> str:
    own = {*metric.labels, "le"} if metric.type == "histogram" else {*metric.labels}
    _check_labels(metric, by, own | ({"pool"} if metric.has_pool else set()))
    if not _is_told_by_all(metric):
        return f"sum{_grouping(by)} ({inner})"
    labels = (*metric.labels, "le") if metric.type == "histogram" else metric.labels
    one_of_each = f"max{_grouping(labels)} ({inner})"
    return one_of_each if set(by) == set(labels) else f"sum{_grouping(by)} ({one_of_each})"


def _is_told_by_all(metric: Metric) -> bool:
    """Return whether every process tells the same, so that one of each is the truth."""
    leader_knows = metric.source is Source.OPERATOR and metric.type == "gauge" and metric.has_pool
    return metric.source is Source.EXPORTER or leader_knows


def _grouping(labels: Sequence[str]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""


def or_zero(expression: str) -> str:
    """Return one sum without labels, or 0 where nothing was ever counted."""
    return f"({expression} or vector(0))"
