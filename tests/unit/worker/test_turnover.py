"""As much is claimed ahead as slots are about to come free, and nothing where answers take long."""

import pytest

from llmjobs_worker.turnover import Turnover


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def end_some(
    turnover: Turnover, clock: Clock, count: int, *, every_s: float, took_s: float = 0.0
) -> None:
    for _ in range(count):
        clock.now_s += every_s
        turnover.note_answer(took_s)


@pytest.mark.parametrize(
    ("took_s", "ahead"),
    [(10.0, 0), (1.0, 2), (0.05, 32)],  # of 50 ms: no more than half of the slots
)
def test_what_comes_free_in_40_ms_is_claimed_ahead(took_s: float, ahead: int) -> None:
    clock = Clock()
    turnover = Turnover(64, clock)
    end_some(turnover, clock, 100, every_s=took_s / 64, took_s=took_s)
    assert turnover.count_ahead() == ahead


def test_long_answers_that_end_together_are_no_fast_ones() -> None:
    clock = Clock()
    turnover = Turnover(64, clock)
    end_some(turnover, clock, 64, every_s=0, took_s=10.0)
    assert turnover.count_ahead() == 0


def test_nothing_is_claimed_ahead_before_the_pace_is_known() -> None:
    clock = Clock()
    turnover = Turnover(64, clock)
    end_some(turnover, clock, 20, every_s=0.001)
    assert turnover.count_ahead() == 0


def test_a_pause_makes_the_pace_old() -> None:
    clock = Clock()
    turnover = Turnover(64, clock)
    end_some(turnover, clock, 100, every_s=0.001)
    clock.now_s += 10
    assert turnover.count_ahead() == 0


def test_the_pace_is_that_of_the_last_answers() -> None:
    clock = Clock()
    turnover = Turnover(64, clock)
    end_some(turnover, clock, 100, every_s=0.1, took_s=10.0)
    end_some(turnover, clock, 32, every_s=0.0008, took_s=0.05)
    assert turnover.count_ahead() == 32
