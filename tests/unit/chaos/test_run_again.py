"""A line that continued is told from one that ran again."""

import pytest

from llmjobs_chaos.scenarios.batches import RATE, find_run_again
from llmjobs_testing.engine_journal import Entry

STRUCK_S = 100.0


def make_entry(opened_s: float, *, start: int, sent: int, outcome: str) -> Entry:
    return Entry(
        number=0, run=0, user="line", opened_s=opened_s, closed_s=opened_s + 2, outcome=outcome,
        start=start, sent=sent,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "start", "ran_again"),
    [
        (20, 20, False),
        (20, 18, False),  # two were on their way
        (20, 17, True),
        (20, 0, True),
        (26, 20, False),  # six more were made after the blow
    ],
)
def test_only_tokens_from_before_the_blow_count(sent: int, start: int, ran_again: bool) -> None:
    opened_s = STRUCK_S - 20.5 / RATE
    entries = [
        make_entry(opened_s, start=0, sent=sent, outcome="aborted"),
        make_entry(STRUCK_S + 1, start=start, sent=9, outcome="done"),
    ]
    assert find_run_again(entries, STRUCK_S) == ({"line"} if ran_again else set())


def test_a_line_that_its_engine_ended_unheard_after_the_blow_continued() -> None:
    opened_s = STRUCK_S - 0.5
    entries = [
        make_entry(opened_s, start=0, sent=16, outcome="done"),
        make_entry(STRUCK_S + 1, start=10, sent=6, outcome="done"),
    ]
    assert find_run_again(entries, STRUCK_S) == set()


def test_a_line_that_was_done_and_runs_once_more_ran_again() -> None:
    entries = [
        make_entry(STRUCK_S - 5, start=0, sent=10, outcome="done"),
        make_entry(STRUCK_S + 1, start=0, sent=10, outcome="done"),
    ]
    assert find_run_again(entries, STRUCK_S) == {"line"}
