"""How fast slots come free, and so how many requests are worth claiming before they do.

While a slot waits for its claim the engine has less to do than it could: nothing beside an answer
of many seconds, a fifth of one of 50 ms. So as many requests are claimed ahead as slots will come
free in the meantime. Where answers take long that is none, also when many of them end together, and
no request waits in one worker that another could run.
"""

import time
from collections import deque
from collections.abc import Callable

_AHEAD_S = 0.04
"""Requests are claimed so long before their slot comes free: a busy worker takes 5 to 20 ms for a
claim, and as long for the next chunk's message."""
_ANSWERS = 32
"""Answers by which the pace is told (arbitrary)."""
_PART = 2
"""Not more than half of the slots is claimed ahead (arbitrary)."""


class Turnover:
    """Watches the answers of one process."""

    def __init__(self, slots: int, fetch_now_s: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._fetch_now_s = fetch_now_s
        self._ended_s: deque[float] = deque(maxlen=_ANSWERS)
        self._took_s: deque[float] = deque([0.0] * _ANSWERS, maxlen=_ANSWERS)
        self._sum_s = 0.0

    def note_answer(self, took_s: float) -> None:
        """An answer has ended just now that held its slot for *took_s*."""
        self._sum_s += took_s - self._took_s[0]
        self._took_s.append(took_s)
        self._ended_s.append(self._fetch_now_s())

    def count_ahead(self) -> int:
        """Return how many slots are about to come free, going by the last answers."""
        if len(self._ended_s) < _ANSWERS:
            return 0
        # Full slots can't come free faster than their answers end on average: what ends together
        # began together, and the next end is as far away.
        span_s = max(self._fetch_now_s() - self._ended_s[0], self._sum_s / self._slots)
        most = self._slots // _PART
        return most if span_s <= 0 else min(most, int(_ANSWERS * _AHEAD_S / span_s))
