"""As much is claimed ahead as slots are about to come free, and nothing where answers take long."""

import pytest

from llmjobs_worker.turnover import Turnover


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def end_some(turnover: Turnover, clock: Clock, count: int, *, every_s: float) -> None:
    for _ in range(count):
        clock.now_s += every_s
        turnover.note_end()


@pytest.mark.parametrize(
    ("every_s", "ahead"),
    [
        (10 / 64, 0),  # answers of 10 s by 64 slots
        (1 / 64, 2),  # of a second
        (0.05 / 64, 32),  # of 50 ms: no more than half of the slots
    ],
)
def test_what_comes_free_in_40_ms_is_claimed_ahead(every_s: float, ahead: int) -> None:
    clock = Clock()
    turnover = Turnover(64, clock)
    end_some(turnover, clock, 100, every_s=every_s)
    assert turnover.count_ahead() == ahead


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


def test_answers_that_all_end_at_once_count() -> None:
    clock = Clock()
    turnover = Turnover(64, clock)
    end_some(turnover, clock, 64, every_s=0)
    assert turnover.count_ahead() == 32
