"""What one request takes of its worker: a place from its claim on, and a slot at the engine."""

import asyncio
import time

from llmjobs_worker.intake import Intake

PATIENCE_S = 1.0
"""How long a request that was claimed ahead waits for its slot, when those before it take longer
than the ones that they followed (arbitrary; a fraction of a lease)."""


class Stay:
    """A request's time in its worker: it begins with a place, and ends once for both."""

    def __init__(self, intake: Intake) -> None:
        """The place was taken from *intake* before; `leave` gives it back."""
        self._intake = intake
        self._entered_s: float | None = None
        self._has_left = False

    @property
    def is_at_engine(self) -> bool:
        """Whether it has got a slot, so that what becomes of the engine may be its doing."""
        return self._entered_s is not None

    async def enter(self) -> bool:
        """Wait for a slot; False where none came free in time."""
        slots = self._intake.slots
        try:
            if not slots.take_free(1):
                async with asyncio.timeout(PATIENCE_S):
                    await slots.acquire()
        except TimeoutError:
            return False
        self._entered_s = time.monotonic()
        return True

    def leave_answered(self) -> None:
        """Make room at once: the engine has given its whole answer."""
        if self._entered_s is not None:
            self._intake.turnover.note_answer(time.monotonic() - self._entered_s)
        self.leave()

    def leave(self) -> None:
        """Give back what was taken, once however often it is said."""
        if self._has_left:
            return
        self._has_left = True
        if self.is_at_engine:
            self._intake.slots.release()
        self._intake.places.release()
