"""A small day, so that the simulation can't rot."""

import numpy as np
import pytest

from llmjobs_bench.simulation.compare import (
    Comparison,
    compare,
    compute_floor,
    run_keda,
)
from llmjobs_bench.simulation.load import build_load


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(8_000, 1, lambda _: None)


def test_llmjobs_is_near_the_oracle_and_below_keda(comparison: Comparison) -> None:
    assert comparison.find_misses() == []


def test_every_job_starts_and_none_before_it_came(comparison: Comparison) -> None:
    for day in (comparison.llmjobs, comparison.oracle, comparison.keda, comparison.keda_queue):
        assert not np.isnan(day.wait_s).any()
        assert day.wait_s.min() >= 0


def test_nobody_is_below_the_floor(comparison: Comparison) -> None:
    floor = compute_floor(comparison.llmjobs.load)
    days = (comparison.llmjobs, comparison.oracle, comparison.keda, comparison.keda_queue)
    assert min(day.gpu_hours for day in days) >= floor


def test_the_same_seed_gives_the_same_day() -> None:
    first, again = (run_keda(build_load(500, 3), 4, counts_running=True) for _ in range(2))
    assert (first.gpu_hours, first.moves) == (again.gpu_hours, again.moves)
    assert np.array_equal(first.wait_s, again.wait_s)


def test_a_pool_of_any_policy_ends_its_day() -> None:
    load = build_load(300, 5)
    assert not np.isnan(run_keda(load, 1, counts_running=False).wait_s).any()
