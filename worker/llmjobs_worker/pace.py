"""Lets fast streams be read once a tick, all of them in one turn of the loop.

Every turn of a task costs more than the tokens that it brings. Progress is written once a tick
anyway, so a stream that brings more than one token in it is not read again before the next, and
then from here: its task sleeps for as long as tokens come. Only answers that have grown a little
wait: a short one ends as soon as it can.
"""

import asyncio
from collections.abc import Callable

TICK_S = 0.02
"""Between two reads of one stream, and between two writes of progress: short enough to look live,
long enough to share a turn and a round trip."""


class Pace:
    """One tick for all streams of the process; in the loop's thread."""

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._tick_s = tick_s
        self._steps: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._is_ticking = False

    async def follow(self, step: Callable[[], bool]) -> None:
        """Call *step* at each tick until it returns False; raises what it raises.

        It is called outside of the caller's task, and must not wait.
        """
        loop = asyncio.get_running_loop()
        left = loop.create_future()
        self._steps[left] = step
        if not self._is_ticking:
            self._is_ticking = True
            loop.call_later(self._tick_s, self._tick)
        try:
            await left
        finally:
            del self._steps[left]

    def _tick(self) -> None:
        for left, step in list(self._steps.items()):
            if left.done():
                continue  # it was let go, or cancelled, and its task had no turn yet
            try:
                if not step():
                    left.set_result(None)
            except Exception as error:  # noqa: BLE001 - not swallowed: it is raised by `follow`
                left.set_exception(error)
        self._is_ticking = bool(self._steps)
        if self._is_ticking:
            asyncio.get_running_loop().call_later(self._tick_s, self._tick)
