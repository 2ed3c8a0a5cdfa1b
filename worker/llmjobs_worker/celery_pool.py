"""Celery's pool of this worker: a message is a coroutine in the engine's loop, not a thread.

A thread that only waits for a coroutine costs two changes of thread a message, and Celery's tracer
does for each task what tasks with results and retries of their own need; together they were a third
of a short job. What operators see stays Celery's: its events, and its states of requests.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import msgspec
import structlog
from billiard.einfo import ExceptionInfo
from celery.concurrency.base import BasePool

from llmjobs_core.names import ChunkRef

Ended = Callable[[BaseException | None], None]
"""Takes what a chunk was ended by; None where it came to its end."""
Outcome = tuple[bool, Any, float]
"""What Celery's tracer gives: whether a task failed, with what, and how many seconds it took."""

_body = msgspec.json.Decoder(tuple[tuple[str], Any, Any])
"""A task message's arguments, keyword arguments and what Celery adds to them."""

_log = structlog.get_logger(__name__)


class Deliveries:
    """The messages that Celery handed over: started elsewhere, and told to Celery when ended.

    All but *on_ended* is for Celery's thread.
    """

    def __init__(
        self,
        start_chunk: Callable[[ChunkRef, Ended], None],
        wake: Callable[[Callable[[], None]], None],
    ) -> None:
        """*start_chunk* returns at once; *wake* has Celery's thread call what it is given."""
        self._start_chunk = start_chunk
        self._wake = wake
        self._ended: deque[tuple[Callable[[Outcome], None], Outcome]] = deque()
        self._all_ended = threading.Condition()
        self._running = 0
        self.taken = 0
        """Chunks that were started so far."""

    def take(self, body: str | bytes | memoryview, tell_celery: Callable[[Outcome], None]) -> None:
        """Start what a message is about; *tell_celery* is called by :meth:`settle`."""
        chunk = parse_message(body)
        if chunk is None:
            _log.warning("message_is_no_chunk")
            tell_celery((False, None, 0.0))
            return
        self.taken += 1
        with self._all_ended:
            self._running += 1
        self._start_chunk(chunk, partial(self._note_end, tell_celery, time.monotonic()))

    def settle(self) -> None:
        """Tell Celery of all that has ended since."""
        while self._ended:
            tell_celery, outcome = self._ended.popleft()
            tell_celery(outcome)

    def wait(self) -> None:
        """Return when nothing runs that was taken."""
        with self._all_ended:
            self._all_ended.wait_for(lambda: not self._running)

    def _note_end(
        self,
        tell_celery: Callable[[Outcome], None],
        began_s: float,
        error: BaseException | None,
    ) -> None:
        self._ended.append((tell_celery, _build_outcome(error, time.monotonic() - began_s)))
        with self._all_ended:
            self._running -= 1
            self._all_ended.notify_all()
        self._wake(self.settle)


def parse_message(body: str | bytes | memoryview) -> ChunkRef | None:
    """Return the chunk that a message is about; None if it is about none."""
    try:
        (name,), _, _ = _body.decode(body)
        return ChunkRef.parse(name)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None


def build_pool_class(deliveries: Deliveries) -> type[BasePool]:
    """Return a pool, of which Celery wants the class, that hands its messages to *deliveries*."""

    class LoopPool(BasePool):  # type: ignore[misc]
        signal_safe = False
        body_can_be_buffer = True

        def on_apply(
            self,
            _target: Any,
            args: tuple[Any, ...],
            _kwargs: Any = None,
            callback: Any = None,
            accept_callback: Any = None,
            **_: Any,
        ) -> None:
            """Start a message; *args* are those of Celery's tracer, its body the fourth."""
            accept_callback(os.getpid(), time.monotonic())
            deliveries.take(args[3], callback)

        def on_stop(self) -> None:
            """Wait for what still runs: a message that came last is on its way to another."""
            deliveries.wait()

    return cast("type[BasePool]", LoopPool)


def _build_outcome(error: BaseException | None, runtime_s: float) -> Outcome:
    if error is None:
        return False, None, runtime_s
    return True, ExceptionInfo((type(error), error, error.__traceback__)), runtime_s
