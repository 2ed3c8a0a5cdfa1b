"""Steps that follow a stream are called once a tick, and their end is their task's."""

import asyncio
from collections.abc import Callable

import pytest

from llmjobs_worker.pace import Pace


class OutOfStepsError(Exception):
    """A step's own failure."""


@pytest.fixture
def pace() -> Pace:
    """Ticks in every turn of the loop."""
    return Pace(tick_s=0)


def build_step(left: list[str], name: str, times: int) -> Callable[[], bool]:
    """Return a step that goes on so many times, and says so."""
    remaining = iter(range(times - 1, -1, -1))

    def step() -> bool:
        left.append(name)
        return next(remaining) > 0

    return step


async def test_a_step_is_called_until_it_says_no(pace: Pace) -> None:
    called: list[str] = []
    await pace.follow(build_step(called, "a", 3))
    assert called == ["a"] * 3


async def test_all_steps_share_a_tick(pace: Pace) -> None:
    called: list[str] = []
    await asyncio.gather(*(pace.follow(build_step(called, name, 2)) for name in "abc"))
    assert called == [*"abcabc"]


async def test_what_a_step_raises_is_raised_to_its_own_task_alone(pace: Pace) -> None:
    called: list[str] = []

    def fail() -> bool:
        raise OutOfStepsError

    other = asyncio.create_task(pace.follow(build_step(called, "a", 5)))
    with pytest.raises(OutOfStepsError):
        await pace.follow(fail)
    await other
    assert called == ["a"] * 5


async def test_a_cancelled_task_is_followed_no_more(pace: Pace) -> None:
    called: list[str] = []

    def cancel_first() -> bool:
        called.append("canceller")
        first.cancel()
        return False

    second = asyncio.create_task(pace.follow(cancel_first))
    first = asyncio.create_task(pace.follow(build_step(called, "first", 9)))
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert called == ["canceller"]


async def test_it_ticks_again_after_a_rest(pace: Pace) -> None:
    called: list[str] = []
    await pace.follow(build_step(called, "a", 1))
    await asyncio.sleep(0)
    await pace.follow(build_step(called, "b", 2))
    assert called == ["a", "b", "b"]
