"""Contenders take turns, so that what changes on the machine meanwhile meets all of them."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from llmjobs_bench.row import Stage


def make_stage(*, runs: int = 3, is_quick: bool = False) -> Stage:
    return Stage(Path("unused"), runs, is_quick, print)


async def test_contenders_take_turns_and_every_second_run_goes_backwards() -> None:
    order: list[str] = []

    def build(name: str) -> Callable[[], Awaitable[int]]:
        async def measure() -> int:
            order.append(name)
            return len(order)

        return measure

    taken = await make_stage().alternate({name: build(name) for name in "abc"})

    assert "".join(order) == "abccbaabc"
    assert taken == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_a_quick_run_takes_the_small_sizes() -> None:
    assert make_stage(is_quick=True).size(8000, 500) == 500
    assert make_stage().size(8000, 500) == 8000
