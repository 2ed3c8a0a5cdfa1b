"""Whether this worker takes work now, in one place for Celery's thread, the loop and the beats."""

from collections.abc import Callable

from llmjobs_worker.slots import Slots
from llmjobs_worker.turnover import Turnover


class Intake:
    """Open while the engine is healthy and the worker does not leave; counts what waits inside.

    Changed in the loop's thread; its properties may be read from any.
    """

    def __init__(self, total: int) -> None:
        """*total* is how many requests may be at the engine at once."""
        self.slots = Slots(total)
        self.turnover = Turnover(total)
        self.places = Slots(total, self.turnover.count_ahead)
        """Requests that may be claimed: one a slot, and some for slots that soon come free."""
        self.places.on_freed = self.tell
        self.waiting = 0
        """Chunks that were taken from the queue and have no place yet."""
        self._is_healthy = False
        self._is_draining = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        """Whether new requests may start."""
        return self._is_healthy and not self._is_draining

    @property
    def is_draining(self) -> bool:
        """Whether the worker leaves."""
        return self._is_draining

    @property
    def is_healthy(self) -> bool:
        """Whether the engine answered its last health checks."""
        return self._is_healthy

    @property
    def announced_slots(self) -> int:
        """What the pool may count on."""
        return self.slots.total if self.is_open else 0

    def has_room(self, arriving: int) -> bool:
        """Whether one more message may be fetched when *arriving* more are on their way in."""
        return self.is_open and self.places.free > self.waiting + arriving

    def set_healthy(self, is_healthy: bool) -> None:
        """Note the engine's health."""
        if is_healthy != self._is_healthy:
            self._is_healthy = is_healthy
            self.tell()

    def close(self) -> None:
        """Take no more work, for good."""
        if not self._is_draining:
            self._is_draining = True
            self.tell()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call *listener* (thread-safe, quick) whenever there may be room again, or no more."""
        self._listeners.append(listener)

    def tell(self) -> None:
        """Call the listeners."""
        for listener in self._listeners:
            listener()
