"""The report keeps what was not measured again, and says of a failed row why."""

from collections.abc import Sequence

import pytest

from llmjobs_bench.figures import Bound, Figure, SelfCheckFailed
from llmjobs_bench.machine import Machine
from llmjobs_bench.report import (
    BEGIN,
    END,
    Measured,
    build_results,
    explain_failure,
    parse_lines,
    render,
    render_rows,
    render_summary,
)
from llmjobs_bench.row import Row, Stage

WHERE = Machine(date="2026-01-02", machine="2 cores", versions="Python 3.11")
LATER = Machine(date="2026-02-03", machine="4 cores", versions="Python 3.13")
EMPTY = f"before\n{BEGIN}\n{END}\nafter\n"
ORDER = ["first", "second"]


async def measure(_: Stage) -> Sequence[Figure]:
    return []


def make_measured(name: str, value: float = 0.99, *, failure: str = "") -> Measured:
    figures = [
        Figure("direct", [2000.0], "tokens/s"),
        Figure("of direct", [value], bound=Bound(at_least=0.97)),
    ]
    return Measured(
        Row(name, f"title of {name}", measure), [] if failure else figures, 1.0, failure
    )


def test_a_line_has_the_bounded_figures_first_and_the_verdict() -> None:
    text = render(EMPTY, [make_measured("first")], WHERE, ORDER)
    assert (
        "| `first` | title of first | of direct ≥ 0.97 | of direct 0.99; direct 2,000 tokens/s "
        "| yes | 2026-01-02 |"
    ) in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")


def test_a_miss_is_called_one() -> None:
    assert "| **no** |" in render(EMPTY, [make_measured("first", 0.9)], WHERE, ORDER)


def test_a_failed_row_says_why_and_is_not_met() -> None:
    failed = make_measured("first", failure="SelfCheckFailed: a text | is wrong")
    (line,) = parse_lines(render(EMPTY, [failed], WHERE, ORDER)).values()
    assert "| failed: SelfCheckFailed: a text / is wrong | **no** |" in line
    assert not failed.is_met


def test_measuring_one_again_leaves_the_lines_of_the_others() -> None:
    both = render(EMPTY, [make_measured("second"), make_measured("first")], WHERE, ORDER)
    again = render(both, [make_measured("second", 0.5)], LATER, ORDER)
    before, after = parse_lines(both), parse_lines(again)
    assert list(after) == ORDER
    assert after["first"] == before["first"]
    assert "of direct 0.5" in after["second"]
    assert LATER.date in after["second"]


def test_a_row_that_is_no_more_leaves_the_table() -> None:
    both = render(EMPTY, [make_measured("first"), make_measured("second")], WHERE, ORDER)
    assert list(parse_lines(render(both, [], WHERE, ["second"]))) == ["second"]


def test_rendering_twice_changes_nothing() -> None:
    once = render(EMPTY, [make_measured("first")], WHERE, ORDER)
    assert render(once, [make_measured("first")], WHERE, ORDER) == once


@pytest.mark.parametrize("document", ["nothing", f"{BEGIN} but no end", f"{END}"])
def test_a_document_without_a_place_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        render(document, [], WHERE, ORDER)


def test_results_keep_the_other_rows_and_all_runs() -> None:
    before = build_results({}, [make_measured("first")], WHERE)
    after = build_results(before, [make_measured("second", failure="OSError: gone")], LATER)
    assert after["rows"]["first"] == before["rows"]["first"]
    assert after["rows"]["first"]["figures"][1]["runs"] == [0.99]
    assert after["rows"]["second"]["failure"] == "OSError: gone"
    assert after["rows"]["second"]["is_met"] is False


@pytest.mark.parametrize(
    ("error", "want"),
    [
        (SelfCheckFailed("a text\n is wrong"), "SelfCheckFailed: a text is wrong"),
        (TimeoutError(), "TimeoutError"),
        (
            ExceptionGroup("errors", [OSError("gone"), OSError("gone"), KeyError("text")]),
            "OSError: gone; KeyError: 'text'",
        ),
    ],
    ids=["many lines", "without a text", "a group"],
)
def test_a_failure_is_told_in_one_line(error: Exception, want: str) -> None:
    assert explain_failure(error) == want


def test_a_summary_has_every_row_and_counts_those_that_are_met() -> None:
    measured = [
        make_measured("first"),
        make_measured("second", 0.5),
        make_measured("third", failure="OSError: gone"),
    ]
    assert render_summary(measured).splitlines() == [
        "first   met        1 s  of direct 0.99, must be ≥ 0.97",
        "                        direct 2,000 tokens/s",
        "second  MISSED     1 s  of direct 0.5, must be ≥ 0.97: MISSED",
        "                        direct 2,000 tokens/s",
        "third   failed     1 s  OSError: gone",
        "1 of 3 met",
    ]


def test_a_summary_of_nothing_is_no_success() -> None:
    assert render_summary([]) == "0 of 0 met"


def test_the_list_names_what_is_measured() -> None:
    rows = [Row("first", "title of first", measure), Row("longest", "another", measure)]
    assert render_rows(rows) == "first    title of first\nlongest  another"
