"""The one event loop of the process, in a thread of its own; Celery's threads call into it."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

if sys.platform != "win32":
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop

_TICK_S = 1.0

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other threads."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = new_event_loop()
        self._ticked_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="engine-loop", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run *coroutine* in the loop; returns at once."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call *function* in the loop's thread, soon; harmless once the loop is closed."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(function, *args)

    def stop(self, timeout_s: float) -> None:
        """Stop the loop and close it, if it ends in time."""
        self.call(self.loop.stop)
        self._thread.join(timeout_s)

    @property
    def age_s(self) -> float:
        """Seconds since the loop last turned."""
        return time.monotonic() - self._ticked_s

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self._tick()
        self.loop.run_forever()
        self.loop.close()

    def _tick(self) -> None:
        self._ticked_s = time.monotonic()
        self.loop.call_later(_TICK_S, self._tick)
