"""How fast slots come free, and so how many requests are worth claiming before they do. Pure.

While a slot waits for its claim the engine has less to do than it could: nothing beside an answer
of many seconds, a fifth of one of 50 ms. So as many requests are claimed ahead as slots will come
free in the meantime. Where answers take long that is none, and no request waits in one worker that
another could run.
"""

import time
from collections import deque
from collections.abc import Callable

_AHEAD_S = 0.04
"""Requests are claimed so long before their slot comes free: a busy worker takes 5 to 20 ms for a
claim, and as long for the next chunk's message."""
_ENDS = 32
"""Answers by which the pace is told (arbitrary)."""
_PART = 2
"""Not more than half of the slots is claimed ahead (arbitrary)."""


class Turnover:
    """Watches the answers of one process."""

    def __init__(self, slots: int, fetch_now_s: Callable[[], float] = time.monotonic) -> None:
        self._most = slots // _PART
        self._fetch_now_s = fetch_now_s
        self._ends: deque[float] = deque(maxlen=_ENDS)

    def note_end(self) -> None:
        """An answer has ended just now."""
        self._ends.append(self._fetch_now_s())

    def count_ahead(self) -> int:
        """Return how many slots are about to come free, going by the last answers."""
        if len(self._ends) < _ENDS:
            return 0
        took_s = self._fetch_now_s() - self._ends[0]
        return self._most if took_s <= 0 else min(self._most, int(_ENDS * _AHEAD_S / took_s))
