"""Which objects to look at next: each once, one at a time per object, not before its time."""

import asyncio
import heapq
import itertools

from llmjobs_operator.objects import ObjectKey


class Worklist:
    """A queue of keys; adding one that is there already changes nothing.

    A key that is added while it is worked on comes again afterwards.
    """

    def __init__(self) -> None:
        self._due: dict[ObjectKey, float] = {}
        self._heap: list[tuple[float, int, ObjectKey]] = []
        self._order = itertools.count()
        self._active: set[ObjectKey] = set()
        self._again: dict[ObjectKey, float] = {}
        self._not_before: dict[ObjectKey, float] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def count_due(self) -> int:
        """Return how many keys are to be looked at now, or are being looked at."""
        now = asyncio.get_running_loop().time()
        return len(self._active) + sum(when <= now for when in self._due.values())

    def add(self, key: ObjectKey, *, delay_s: float = 0.0) -> None:
        """Look at *key* after *delay_s*, or sooner if that was asked for already."""
        now = asyncio.get_running_loop().time()
        when = max(now + delay_s, self._not_before.get(key, 0.0))
        if key in self._active:
            self._again[key] = min(when, self._again.get(key, when))
            return
        if key in self._due and self._due[key] <= when:
            return
        self._due[key] = when
        heapq.heappush(self._heap, (when, next(self._order), key))
        self._changed.set()

    def hold(self, key: ObjectKey, seconds: float) -> None:
        """Don't hand out *key* again within *seconds*: it was just written to."""
        self._not_before[key] = asyncio.get_running_loop().time() + seconds

    def release(self, key: ObjectKey) -> None:
        """Take back :meth:`hold`: the object is gone, and a namesake was not written to."""
        self._not_before.pop(key, None)

    async def take(self) -> ObjectKey:
        """Return the next key that is due; call :meth:`done` when it was worked on."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            while self._heap:
                when, _, key = self._heap[0]
                if self._due.get(key) != when or key in self._active:
                    heapq.heappop(self._heap)
                    continue
                wait_s = when - loop.time()
                if wait_s > 0:
                    break
                heapq.heappop(self._heap)
                del self._due[key]
                self._active.add(key)
                return key
            else:
                wait_s = None
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: ObjectKey) -> None:
        """Say that *key* was worked on."""
        self._active.discard(key)
        again = self._again.pop(key, None)
        if again is not None:
            now = asyncio.get_running_loop().time()
            self.add(key, delay_s=max(0.0, again - now))
