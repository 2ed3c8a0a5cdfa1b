"""A bound is met or not by the median, and what could not be measured meets none."""

import math

import pytest

from llmjobs_bench.figures import Bound, Figure, divide, format_number, percentile

NAN = math.nan


@pytest.mark.parametrize(
    ("bound", "value", "want_met"),
    [
        (Bound(at_least=0.97), 0.97, True),
        (Bound(at_least=0.97), 0.969, False),
        (Bound(at_most=8), 8, True),
        (Bound(at_most=8), 8.01, False),
        (Bound(at_least=0), 0, True),
        (Bound(at_most=0), 0.1, False),
        (Bound(at_least=0.97), NAN, False),
        (Bound(at_most=8), NAN, False),
        (Bound(at_most=8), math.inf, False),
    ],
)
def test_a_bound_takes_its_own_value_and_nothing_beyond(
    bound: Bound, value: float, want_met: bool
) -> None:
    assert bound.is_met(value) is want_met


@pytest.mark.parametrize(
    ("values", "want_median"), [([3, 1, 2], 2), ([1, 2, 3, 100], 2.5), ([5], 5)]
)
def test_the_median_of_the_runs_counts(values: list[float], want_median: float) -> None:
    assert Figure("p50", values).median == want_median


def test_one_bad_run_of_five_does_not_miss_a_bound() -> None:
    assert Figure("of direct", [0.98, 0.2, 0.99, 0.98, 0.98], bound=Bound(at_least=0.97)).is_met


def test_a_figure_without_a_run_is_unknown_and_meets_no_bound() -> None:
    figure = Figure("of direct", [], bound=Bound(at_most=1))
    assert math.isnan(figure.median)
    assert not figure.is_met
    assert str(figure) == "of direct unknown"


def test_a_figure_that_is_only_told_can_not_be_missed() -> None:
    assert Figure("direct", [1.0], "tokens/s").is_met


def test_a_figure_shows_its_spread_where_there_is_one() -> None:
    assert str(Figure("direct", [1000, 3000, 2000], "tokens/s")) == (
        "direct 2,000 (1,000 to 3,000) tokens/s"
    )
    assert str(Figure("of direct", [0.5])) == "of direct 0.5"


def test_a_ratio_is_taken_run_by_run() -> None:
    assert divide([10, 30], [20, 10]) == [0.5, 3.0]


def test_runs_that_have_no_reference_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        divide([1, 2], [1])


@pytest.mark.parametrize(("percent", "want"), [(0, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_a_percentile_is_one_of_the_values(percent: float, want: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == want


def test_a_percentile_of_nothing_is_unknown() -> None:
    assert math.isnan(percentile([], 50))


@pytest.mark.parametrize(
    ("value", "want"),
    [(NAN, "unknown"), (0.97123, "0.971"), (12.345, "12.3"), (150_000.4, "150,000"), (0, "0")],
)
def test_numbers_have_three_digits_that_count(value: float, want: str) -> None:
    assert format_number(value) == want
