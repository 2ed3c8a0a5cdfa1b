"""Many askers, few readings."""

import asyncio
from collections.abc import Sequence

import pytest

from llmjobs_core.errors import StoreUnavailable
from llmjobs_operator.gathering import Gathering


class Readings:
    """A store that says what it was asked for, and answers when told."""

    def __init__(self) -> None:
        self.keys: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def read(self, keys: Sequence[str]) -> list[str]:
        """Return each key in capitals."""
        self.keys.append(list(keys))
        await self.may_answer.wait()
        return [key.upper() for key in keys]


async def test_who_asks_at_once_shares_a_reading() -> None:
    readings = Readings()
    gathering = Gathering(readings.read)
    assert await asyncio.gather(*map(gathering.fetch, "abc")) == ["A", "B", "C"]
    assert readings.keys == [["a", "b", "c"]]


async def test_who_asks_during_a_reading_gets_a_later_one() -> None:
    readings = Readings()
    readings.may_answer.clear()
    gathering = Gathering(readings.read)
    first = asyncio.create_task(gathering.fetch("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    again = asyncio.create_task(gathering.fetch("a"))
    await asyncio.sleep(0)
    readings.may_answer.set()
    assert (await first, await again) == ("A", "A")
    assert readings.keys == [["a"], ["a"]]


async def test_a_reading_that_fails_fails_for_all_and_the_next_is_made() -> None:
    outages = [True]

    async def read(keys: Sequence[str]) -> list[str]:
        if outages:
            outages.clear()
            raise StoreUnavailable("away")
        return list(keys)

    gathering = Gathering(read)
    answers = await asyncio.gather(*map(gathering.fetch, "ab"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable]
    assert await gathering.fetch("c") == "c"


async def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    readings = Readings()
    readings.may_answer.clear()
    gathering = Gathering(readings.read)
    leaving, staying = (asyncio.create_task(gathering.fetch(key)) for key in "ab")
    await asyncio.sleep(0)
    leaving.cancel()
    readings.may_answer.set()
    assert await staying == "B"
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_one_that_can_not_be_read_fails_alone() -> None:
    async def read(keys: Sequence[str]) -> list[int]:
        return [int(key) for key in keys]

    gathering = Gathering(read)
    found = await asyncio.gather(*map(gathering.fetch, ["1", "x", "3"]), return_exceptions=True)
    assert (found[0], type(found[1]), found[2]) == (1, ValueError, 3)


async def test_who_waits_for_a_reading_that_is_cancelled_does_not_wait_for_ever() -> None:
    began: list[asyncio.Task[None] | None] = []

    async def read(keys: Sequence[str]) -> list[str]:
        if not began:
            began.append(gathering._reading)
            await asyncio.Event().wait()
        return list(keys)

    gathering = Gathering(read)
    asker = asyncio.create_task(gathering.fetch("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (reading,) = began
    assert reading is not None
    reading.cancel()
    await asyncio.wait_for(asyncio.wait({asker}), 5)
    assert asker.cancelled()
    assert await gathering.fetch("b") == "b"
