"""Slots are given in turn, never more than there are."""

import asyncio

import pytest

from llmjobs_worker.slots import Slots


async def test_never_more_are_held_than_there_are() -> None:
    slots, held, most = Slots(3), 0, 0

    async def work() -> None:
        nonlocal held, most
        await slots.acquire()
        held += 1
        most = max(most, held)
        await asyncio.sleep(0)
        held -= 1
        slots.release()

    await asyncio.gather(*(work() for _ in range(50)))
    assert (most, slots.free, slots.used) == (3, 3, 0)


async def test_whoever_came_first_gets_the_slot_first() -> None:
    slots, order = Slots(1), []
    await slots.acquire()

    async def wait(name: int) -> None:
        await slots.acquire()
        order.append(name)
        slots.release()

    tasks = [asyncio.create_task(wait(i)) for i in range(5)]
    await asyncio.sleep(0)
    slots.release()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_taking_what_is_free_does_not_overtake() -> None:
    slots = Slots(4)
    assert slots.take_free(3) == 3
    assert slots.take_free() == 1
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    assert slots.take_free() == 0
    slots.release()
    await waiter
    assert slots.free == 0


@pytest.mark.parametrize("given", [False, True])
async def test_a_cancelled_waiter_keeps_no_slot(given: bool) -> None:
    slots = Slots(1)
    await slots.acquire()
    first, second = (asyncio.create_task(slots.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    if given:
        slots.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    if not given:
        slots.release()
    await second
    slots.release()
    assert slots.free == 1


async def test_a_freed_slot_is_told_of_when_nobody_waits() -> None:
    slots, told = Slots(1), []
    slots.on_freed = lambda: told.append(slots.free)
    await slots.acquire()
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()
    await waiter
    assert told == []
    slots.release()
    assert told == [1]


async def test_a_waiter_that_is_cancelled_as_a_slot_comes_free_only_ends() -> None:
    slots = Slots(1)
    await slots.acquire()
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    waiter.cancel()
    slots.release()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert slots.free == 1


async def test_more_are_given_while_there_are_more() -> None:
    more = 2
    slots = Slots(2, lambda: more)
    assert slots.take_free() == 4
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    more = 0
    slots.release(2)
    await asyncio.sleep(0)
    assert (waiter.done(), slots.free) == (False, 0)
    slots.release()
    await waiter
    assert slots.used == 2
