"""One reading for many askers: who asks while a reading is under way shares the next one.

So work on many objects at once costs the store a round trip now and then, and not one each. Must
not keep what was read: every asker gets a value that was read after it asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from llmjobs_core.errors import RetryableError

K = TypeVar("K")
V = TypeVar("V")

_MOST = 500
"""Keys in one reading, so that no one reading holds the store for long (arbitrary)."""


class Gathering(Generic[K, V]):
    """Gathers single questions into readings of many."""

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Sequence[V]]]) -> None:
        """*read* returns a value for each key, in the order given."""
        self._read = read
        self._asked: list[tuple[K, asyncio.Future[V]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def fetch(self, key: K) -> V:
        """Return the value of *key*; raises what the reading raised."""
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._asked.append((key, answer))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())
        return await answer

    async def _read_all(self) -> None:
        asked: Sequence[tuple[K, asyncio.Future[V]]] = ()
        try:
            while self._asked:
                asked, self._asked = self._asked[:_MOST], self._asked[_MOST:]
                await self._answer(asked)
        finally:
            # Where this is cancelled, nobody may wait for it any longer.
            left, self._asked = [*asked, *self._asked], []
            for _, answer in left:
                answer.cancel()

    async def _answer(self, asked: Sequence[tuple[K, asyncio.Future[V]]]) -> None:
        keys = [key for key, _ in asked]
        (values,) = await asyncio.gather(self._read(keys), return_exceptions=True)
        if len(asked) > 1 and _is_of_one(values):
            # One that can't be read must not keep the others from it.
            for one in asked:
                await self._answer([one])
            return
        for number, (_, answer) in enumerate(asked):
            if answer.done():
                continue  # who asked has left
            if isinstance(values, BaseException):
                answer.set_exception(values)
            else:
                answer.set_result(values[number])


def _is_of_one(values: object) -> bool:
    """Whether a reading failed, and not since the store is away."""
    return isinstance(values, Exception) and not isinstance(values, RetryableError)
