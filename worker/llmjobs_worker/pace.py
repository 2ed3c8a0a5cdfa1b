"""Lets fast streams be read once a tick, so that what comes in between costs one turn, not many.

Every turn of a stream costs more than the tokens in it. Progress is written once a tick anyway, so
a stream that has just told something is not read again before the next one. Only answers that have
grown a little wait: a short one ends as soon as it can.
"""

import asyncio

TICK_S = 0.02
"""Between two reads of one stream, and between two writes of progress: short enough to look live,
long enough to share a turn and a round trip."""
UNPACED_TOKENS = 16
"""So many are read as they come (arbitrary: a short answer, and the first words of a long one)."""
_MANY_TOKENS = 16


class Pace:
    """One tick for all streams of the process; in the loop's thread."""

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._tick_s = tick_s
        self._ticked = asyncio.Event()
        self._is_waited_for = False

    async def wait(self, tokens: int) -> None:
        """Return at the next tick, whoever else waits for it; at once where *tokens* are many.

        *tokens* came with the last read. Many in one read are worth their turn, and what lies
        unread for a tick is read more slowly, from memory that the caches have left.
        """
        if tokens > _MANY_TOKENS:
            return
        if not self._is_waited_for:
            self._is_waited_for = True
            asyncio.get_running_loop().call_later(self._tick_s, self._tick)
        await self._ticked.wait()

    def _tick(self) -> None:
        self._is_waited_for = False
        self._ticked.set()  # lets go of those who wait now
        self._ticked.clear()
