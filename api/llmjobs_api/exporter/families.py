"""A reading of the store as metric families. Pure.

Names follow https://prometheus.io/docs/practices/naming/. Labels are pools, classes, states and
reasons, which are few; never a job's id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from llmjobs_core.build_info import (
    BUILD_INFO,
    BUILD_INFO_LABELS,
    BUILD_INFO_TEXT,
    build_version,
)
from llmjobs_core.explain import explain_pool_wait
from llmjobs_core.pools import HISTOGRAM_BOUNDS_S, Counters, Histogram, PoolStats
from llmjobs_core.states import JobClass, JobState

_LIVE_STATES = tuple(state for state in JobState if not state.is_terminal)
_HISTOGRAMS = {
    "queue_wait": ("llmjobs_queue_wait_seconds", "Time from queueing to the first start."),
    "duration": ("llmjobs_job_duration_seconds", "Time from submission to the end, any end."),
    "time_to_first_token": (
        "llmjobs_time_to_first_token_seconds",
        "Time from submission to the first generated token.",
    ),
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one scrape has read."""

    counters: Counters
    pools: Sequence[PoolStats]
    is_writable: bool = True
    """Whether the store takes new jobs."""


def build_up(*, is_up: bool) -> Metric:
    """Return whether the store could be read; the one family that is always there."""
    return GaugeMetricFamily(
        "llmjobs_store_up", "1 if the store could be read for this scrape.", value=float(is_up)
    )


def build_info() -> Metric:
    """Return which exporter this is."""
    family = GaugeMetricFamily(BUILD_INFO, BUILD_INFO_TEXT, labels=BUILD_INFO_LABELS)
    family.add_metric(("exporter", build_version()), 1.0)
    return family


def build_families(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield everything that *snapshot* tells."""
    yield GaugeMetricFamily(
        "llmjobs_store_writable",
        "1 if the store takes new jobs, 0 if it is full or its disk fails.",
        value=float(snapshot.is_writable),
    )
    yield from _job_families(snapshot.counters, [str(p.registration.key) for p in snapshot.pools])
    yield from _pool_families(snapshot.pools)
    yield _waiting_family(snapshot.pools)
    yield from _histogram_families(snapshot.counters)


def _job_families(counters: Counters, pools: Sequence[str]) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "llmjobs_jobs", "Jobs in the store now.", labels=("pool", "class", "state")
    )
    # A queue that has never been used is empty, and an alert on it must find the series.
    empty = {(p, c, s): 0 for p in pools for c in JobClass for s in _LIVE_STATES}
    for (pool, job_class, state), count in sorted((empty | dict(counters.depth)).items()):
        depth.add_metric((pool, job_class.value, state.value), max(count, 0))
    yield depth
    submitted = _counter("llmjobs_jobs_submitted", "Jobs accepted.", ("pool", "class"))
    for (pool, job_class), count in sorted(counters.submitted.items()):
        submitted.add_metric((pool, job_class.value), count)
    yield submitted
    ended = _counter("llmjobs_jobs_ended", "Jobs that ended.", ("pool", "class", "state", "reason"))
    for (pool, job_class, state, reason), count in sorted(counters.outcomes.items()):
        ended.add_metric((pool, job_class.value, state.value, reason), count)
    yield ended
    for name, text, label, values in (
        ("llmjobs_requests_ended", "Requests that ended.", "outcome", counters.requests),
        ("llmjobs_requests_retried", "Requests that run again.", "reason", counters.retries),
        (
            "llmjobs_tokens",
            "Tokens read and generated, of requests that ended.",
            "type",
            counters.tokens,
        ),
    ):
        family = _counter(name, text, ("pool", label))
        for labels, count in sorted(values.items()):
            family.add_metric(labels, count)
        yield family


def _counter(name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, labels=labels)


def _pool_families(pools: Sequence[PoolStats]) -> Iterator[Metric]:
    def gauge(name: str, text: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(name, text, labels=("pool",))

    queued = gauge("llmjobs_pool_requests_queued", "Requests that wait, retries included.")
    dispatched = gauge("llmjobs_pool_requests_dispatched", "Of those, handed to the pool's queue.")
    running = gauge("llmjobs_pool_requests_running", "Requests that workers hold.")
    slots = gauge("llmjobs_pool_slots", "Requests that the living workers can run at once.")
    workers = gauge("llmjobs_pool_workers", "Worker processes that are alive.")
    cost = gauge("llmjobs_pool_queued_tokens", "Estimated tokens of the requests that wait.")
    rate = gauge("llmjobs_pool_requests_per_second", "Measured rate; absent when unknown.")
    oldest = gauge("llmjobs_pool_oldest_queued_seconds", "How long the oldest waits; 0 if none.")
    accepting = gauge("llmjobs_pool_accepting", "0 once the pool is being deleted.")
    for stats in pools:
        label = (str(stats.registration.key),)
        queued.add_metric(label, stats.queued)
        dispatched.add_metric(label, stats.dispatched)
        running.add_metric(label, stats.running)
        slots.add_metric(label, stats.slots)
        workers.add_metric(label, stats.workers)
        cost.add_metric(label, stats.queued_cost)
        accepting.add_metric(label, float(stats.registration.accepting))
        if stats.requests_per_s is not None:
            rate.add_metric(label, stats.requests_per_s)
        oldest.add_metric(label, _waited_s(stats))
    yield from (queued, dispatched, running, slots, workers, cost, rate, oldest, accepting)


def _waiting_family(pools: Sequence[PoolStats]) -> Metric:
    family = GaugeMetricFamily(
        "llmjobs_pool_requests_waiting",
        "Requests that wait, by what holds them: the pool's trouble, NoWorkers, PoolDeleting, or"
        " WaitingForSlot. One series a pool.",
        labels=("pool", "reason"),
    )
    for stats in pools:
        family.add_metric((str(stats.registration.key), explain_pool_wait(stats)), stats.queued)
    return family


def _waited_s(stats: PoolStats) -> float:
    if stats.oldest_queued_ms is None:
        return 0.0
    return max(0.0, (stats.now_ms - stats.oldest_queued_ms) / 1000)


def _histogram_families(counters: Counters) -> Iterator[Metric]:
    for metric, (name, text) in _HISTOGRAMS.items():
        family = HistogramMetricFamily(name, text, labels=("pool",))
        for (found, pool), histogram in sorted(counters.histograms.items()):
            if found == metric:
                family.add_metric((pool,), cumulate(histogram), histogram.sum_s)
        yield family


def cumulate(histogram: Histogram) -> list[tuple[str, float]]:
    """Return the buckets as Prometheus has them: each counts all up to its bound, +Inf last.

    Every bound is there from the first observation on, so that rates start at zero.
    """
    counts = {float(bound): count for bound, count in histogram.buckets.items()}
    total = 0.0
    buckets: list[tuple[str, float]] = []
    for bound in HISTOGRAM_BOUNDS_S:
        total += counts.get(float(bound), 0)
        buckets.append((str(float(bound)), total))
    return [*buckets, ("+Inf", float(histogram.count))]
