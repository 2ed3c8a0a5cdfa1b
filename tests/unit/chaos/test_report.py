"""The report keeps what was not played again, and calls a miss a miss."""

import math

import pytest

from llmjobs_chaos.report import BEGIN, END, Circumstances, Played, parse_rows, render
from llmjobs_chaos.results import Figure, Outcome, percentile
from llmjobs_chaos.scenario import Scenario, Stage

WHERE = Circumstances(seed=7, date="2026-01-02", machine="2 cores", versions="Python 3.11")
EMPTY = f"before\n{BEGIN}\n{END}\nafter\n"
ORDER = ["first", "second"]


async def play(_: Stage) -> Outcome:
    return Outcome([])


def make_played(name: str, value: float, *, violations: tuple[str, ...] = ()) -> Played:
    outcome = Outcome([Figure("p50", value, "s", 5.5), Figure("jobs", 10)], violations)
    return Played(Scenario(name, f"title of {name}", play), outcome, 1.0)


def test_a_row_holds_figures_bounds_verdict_and_seed() -> None:
    text = render(EMPTY, [make_played("first", 5.125)], WHERE, ORDER)
    assert (
        "| `first` | title of first | p50 5.12 s, jobs 10 | p50 ≤ 5.5 s, every invariant | yes "
        "| 7, 2026-01-02 |"
    ) in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")


@pytest.mark.parametrize(
    "played",
    [make_played("first", 5.6), make_played("first", 1.0, violations=("one is lost",))],
    ids=["bound", "invariant"],
)
def test_a_miss_is_called_one(played: Played) -> None:
    assert "| **no** |" in render(EMPTY, [played], WHERE, ORDER)


def test_playing_one_again_leaves_the_other_rows() -> None:
    both = render(EMPTY, [make_played("second", 2.0), make_played("first", 1.0)], WHERE, ORDER)
    again = render(both, [make_played("second", 3.0)], WHERE, ORDER)
    before, after = parse_rows(both), parse_rows(again)
    assert list(after) == ORDER
    assert after["first"] == before["first"]
    assert "p50 3 s" in after["second"]


def test_a_document_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        render("nothing", [], WHERE, ORDER)


def test_what_could_not_be_measured_is_not_met() -> None:
    assert not Figure("p50", math.nan, "s", 5.5).is_met
    assert math.isnan(percentile([], 50))


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile([3.0], 99)) == (50, 99, 3)
