"""The store's numbers as Prometheus sees them."""

import re
from importlib.resources import files

import pytest
from prometheus_client.metrics_core import Metric

from llmjobs_api.exporter.families import Snapshot, build_families, cumulate
from llmjobs_core.names import PoolKey
from llmjobs_core.pools import (
    HISTOGRAM_BOUNDS_S,
    Counters,
    Histogram,
    PoolRegistration,
    PoolStats,
)
from llmjobs_core.states import JobClass, JobState

KEY = PoolKey("team-a", "small")


def make_stats(**changes: object) -> PoolStats:
    fields: dict[str, object] = {
        "registration": PoolRegistration(key=KEY, models=("m",)),
        "backlog_jobs": 0,
        "queued": 0,
        "dispatched": 0,
        "running": 0,
        "slots": 0,
        "workers": 0,
        "queued_cost": 0,
        "cost_per_s": None,
        "requests_per_s": None,
        "oldest_queued_ms": None,
        "last_active_ms": None,
        "now_ms": 10_000,
    }
    return PoolStats(**(fields | changes))  # type: ignore[arg-type]


def build(counters: Counters | None = None, *pools: PoolStats) -> dict[str, Metric]:
    snapshot = Snapshot(counters or Counters(), pools)
    return {family.name: family for family in build_families(snapshot)}


def test_a_pool_that_was_never_used_has_its_depth_as_zero() -> None:
    samples = build(None, make_stats())["llmjobs_jobs"].samples
    queued = [s for s in samples if s.labels["state"] == "Queued"]
    assert {(s.labels["class"], s.value) for s in queued} == {(c.value, 0) for c in JobClass}


def test_depth_is_by_pool_class_and_state() -> None:
    counters = Counters(depth={(str(KEY), JobClass.BATCH, JobState.QUEUED): 7})
    (sample,) = (s for s in build(counters)["llmjobs_jobs"].samples if s.value)
    assert sample.labels == {"pool": str(KEY), "class": "batch", "state": "Queued"}
    assert sample.value == 7


def test_an_unknown_rate_is_absent_and_not_zero() -> None:
    families = build(None, make_stats(requests_per_s=None))
    assert families["llmjobs_pool_requests_per_second"].samples == []


def test_the_oldest_age_is_by_the_servers_clock() -> None:
    families = build(None, make_stats(oldest_queued_ms=4_000, now_ms=10_000))
    assert families["llmjobs_pool_oldest_queued_seconds"].samples[0].value == 6.0


@pytest.mark.parametrize(
    ("reason", "slots", "accepting", "want"),
    [
        ("", 8, True, "WaitingForSlot"),
        ("", 0, True, "NoWorkers"),
        ("ImagePullFailed", 0, True, "ImagePullFailed"),
        ("ImagePullFailed", 8, True, "WaitingForSlot"),
        ("", 8, False, "PoolDeleting"),
    ],
)
def test_what_waits_is_told_by_what_holds_it(
    reason: str, slots: int, accepting: bool, want: str
) -> None:
    registration = PoolRegistration(key=KEY, models=("m",), reason=reason, accepting=accepting)
    stats = make_stats(registration=registration, slots=slots, queued=5)
    (sample,) = build(None, stats)["llmjobs_pool_requests_waiting"].samples
    assert (sample.labels["reason"], sample.value) == (want, 5)


def test_buckets_count_everything_below_and_none_is_missing() -> None:
    buckets = cumulate(Histogram(buckets={"1": 2, "5": 3, "+Inf": 1}, sum_s=99.0, count=6))
    assert [bound for bound, _ in buckets] == [*(str(float(b)) for b in HISTOGRAM_BOUNDS_S), "+Inf"]
    assert dict(buckets)["1.0"] == 2
    assert dict(buckets)["5.0"] == 5
    assert dict(buckets)["14400.0"] == 5
    assert dict(buckets)["+Inf"] == 6


def test_the_bounds_are_those_that_the_scripts_count_by() -> None:
    lua = (files("llmjobs_core.store") / "lua" / "lib" / "base.lua").read_text()
    found = re.search(r"BUCKETS = \{([^}]*)\}", lua)
    assert found is not None
    assert tuple(float(bound) for bound in found[1].split(",")) == HISTOGRAM_BOUNDS_S
