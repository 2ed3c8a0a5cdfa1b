"""The worker's slots: how many requests may be at the engine at once, given out in turn."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Slots:
    """A fair counting semaphore that can give several at once; for one event loop."""

    def __init__(self, total: int, count_more: Callable[[], int] = lambda: 0) -> None:
        """*count_more* says how many there are beyond *total* at the moment."""
        self.total = total
        self._count_more = count_more
        self._used = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.on_freed: Callable[[], None] = lambda: None
        """Called whenever a slot comes free and nobody here waits for it."""

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return max(0, self.total + self._count_more() - self._used)

    @property
    def used(self) -> int:
        """Slots that are held."""
        return self._used

    async def acquire(self) -> None:
        """Wait for one slot; whoever came first gets it first."""
        if self.take_free(1):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # it was given a moment before: hand it on
            else:
                with suppress(ValueError):  # `release` came to it first, and passed it over
                    self._waiters.remove(waiter)
            raise

    def take_free(self, most: int | None = None) -> int:
        """Take what is free now without waiting, at most *most*; returns how many.

        Takes none while others wait.
        """
        taken = 0 if self._waiters else self.free
        if most is not None:
            taken = min(taken, most)
        self._used += taken
        return taken

    def release(self, count: int = 1) -> None:
        """Give back *count* slots."""
        self._used -= count
        while self._waiters and self.free:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._used += 1
                waiter.set_result(None)
        if self.free:
            self.on_freed()
