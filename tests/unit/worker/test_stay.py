"""A request takes a place and a slot, and gives both back once, however it ends."""

import pytest

from llmjobs_worker import stay as stay_module
from llmjobs_worker.intake import Intake
from llmjobs_worker.stay import Stay


async def take_place(intake: Intake) -> Stay:
    await intake.places.acquire()
    return Stay(intake)


def count_used(intake: Intake) -> tuple[int, int]:
    return intake.places.used, intake.slots.used


async def test_both_are_given_back_once() -> None:
    intake = Intake(2)
    stay = await take_place(intake)
    assert await stay.enter()
    assert count_used(intake) == (1, 1)
    stay.leave_answered()
    stay.leave()
    assert count_used(intake) == (0, 0)


async def test_whoever_finds_no_slot_in_time_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stay_module, "PATIENCE_S", 0.01)
    intake = Intake(1)
    intake.places.total = 2
    first, second = await take_place(intake), await take_place(intake)
    assert await first.enter()
    assert not await second.enter()
    second.leave()
    assert count_used(intake) == (1, 1)
    first.leave()
    assert count_used(intake) == (0, 0)


async def test_only_whole_answers_tell_the_pace() -> None:
    intake = Intake(64)
    for _ in range(64):
        stay = await take_place(intake)
        await stay.enter()
        stay.leave()
    assert intake.turnover.count_ahead() == 0
    for _ in range(64):
        stay = await take_place(intake)
        await stay.enter()
        stay.leave_answered()
    assert intake.turnover.count_ahead() > 0
