"""The self-check of the efficiency rows fails where an answer is not what was asked for."""

from dataclasses import replace
from itertools import pairwise

import pytest

from llmjobs_bench.figures import SelfCheckFailed
from llmjobs_bench.rows.efficiency import (
    Answer,
    build_llama_load,
    build_scripted_load,
    check_answers,
)

LOAD = build_scripted_load(3)
RIGHT = [Answer(request.text or "", request.tokens) for request in LOAD]


def test_right_answers_pass() -> None:
    check_answers(LOAD, RIGHT)


@pytest.mark.parametrize(
    "answers",
    [
        RIGHT[:2],
        [*RIGHT[:2], replace(RIGHT[2], tokens=RIGHT[2].tokens - 1)],
        [*RIGHT[:2], replace(RIGHT[2], text=RIGHT[2].text + "t0 ")],
        [RIGHT[1], RIGHT[0], RIGHT[2]],
    ],
    ids=["one is missing", "a token is missing", "a token is repeated", "exchanged"],
)
def test_wrong_answers_fail(answers: list[Answer]) -> None:
    with pytest.raises(SelfCheckFailed):
        check_answers(LOAD, answers)


def test_neighbours_of_a_load_do_not_end_together() -> None:
    for load in (build_scripted_load(256), build_llama_load(12, 40)):
        tokens = [request.tokens for request in load]
        assert all(one != other for one, other in pairwise(tokens))


def test_loads_stay_within_their_lengths() -> None:
    assert {100 <= request.tokens <= 300 for request in build_scripted_load(256)} == {True}
    assert {30 <= request.tokens <= 50 for request in build_llama_load(12, 40)} == {True}
