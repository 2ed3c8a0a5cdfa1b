"""Celery's part of the worker: it delivers chunk messages while there is room.

Celery's consumer runs in the main thread. It fetches a message only when the intake has room, so
that none lies in a busy or unhealthy worker while another could run it.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.app.trace import setup_worker_optimizations
from celery.worker import WorkController, state
from celery.worker.consumer import Consumer
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from llmjobs_core.celery_app import build_celery_app
from llmjobs_core.names import TASK_NAME, ChunkRef
from llmjobs_worker.celery_pool import Deliveries, Ended, build_pool_class
from llmjobs_worker.intake import Intake

_RECONNECT_POLL_S = 0.05
_EVENTS_S = 0.05
"""Celery's events of so long go together: each publication costs as much as a small task."""
_EVENTS_MAX = 10_000
"""So many are sent at once from whichever thread adds the last, so it must not come to that."""

_log = structlog.get_logger(__name__)


class CeleryRunner:
    """The Celery worker of this process."""

    def __init__(
        self,
        redis_url: str,
        *,
        name: str,
        queue: str,
        intake: Intake,
        start_chunk: Callable[[ChunkRef, Ended], None],
        fetch_started: Callable[[], int],
        ask_store: Callable[[], Callable[[], bool]],
    ) -> None:
        """*start_chunk* has a chunk run elsewhere; *fetch_started* counts those that began.

        *ask_store* asks Redis for a sign of life; what it gives says whether one came since.
        """
        self._intake = intake
        self._deliveries = Deliveries(start_chunk, self._call_soon)
        self._fetch_started = fetch_started
        self._is_refusing = False
        self._hub: Any = None
        app = _build_app(redis_url, queue)
        app.steps["consumer"].add(self._build_step())
        hostname = f"{queue}@{name}"
        setup_worker_optimizations(app, hostname)
        self._worker = WorkController(
            app=app,
            hostname=hostname,
            queues=[queue],
            concurrency=intake.slots.total,
            pool_cls=build_pool_class(self._deliveries),
            consumer_cls=_build_consumer_class(ask_store),
            without_mingle=True,
            without_gossip=True,
        )
        intake.listen(self._wake_if_awaited)

    def run(self) -> int:
        """Consume until :meth:`stop`; returns the exit code. In the main thread."""
        self._worker.start()
        return int(self._worker.exitcode or 0)

    def stop(self, exit_code: int) -> None:
        """End :meth:`run` once no chunk runs; may be called from any thread."""
        # How Celery's own signal handlers do it: its loop looks at this at every turn.
        state.should_stop = exit_code
        self.wake()

    def wake(self) -> None:
        """Let the consumer look again whether there is room; from any thread."""
        self._call_soon(_nothing)

    def _wake_if_awaited(self) -> None:
        if self._is_refusing and self._has_room():
            self.wake()

    def _call_soon(self, function: Callable[[], None]) -> None:
        """Call *function* in Celery's thread; from any thread."""
        hub = self._hub
        if hub is not None:
            hub.call_soon(function)

    def _has_room(self) -> bool:
        return self._intake.has_room(self._deliveries.taken - self._fetch_started())

    def _build_step(self) -> type[bootsteps.StartStopStep]:
        runner = self

        class IntakeStep(bootsteps.StartStopStep):  # type: ignore[misc]
            """Puts the intake in front of every fetch; started anew with each connection."""

            # Of the heart, so that it ends before that tells that the worker is gone.
            requires = (
                "celery.worker.consumer.tasks:Tasks",
                "celery.worker.consumer.heart:Heart",
            )

            def start(self, c: Any) -> None:
                runner._hub = c.hub
                c.is_flush_due = False  # its timer went with the connection
                if c.event_dispatcher is not None:
                    c.event_dispatcher.buffer_limit = _EVENTS_MAX
                channel = c.task_consumer.channel
                # What was fetched and not begun when a connection broke is sent again by the store.
                channel.do_restore = False
                qos = channel.qos
                may_consume = qos.can_consume

                def can_consume() -> bool:
                    # A fetch that is on its way may bring a message after the room is gone: it is
                    # read all the same, and handed on, instead of waiting unread for room here.
                    is_fetching = bool(channel._in_poll)  # noqa: SLF001 - kombu has no other word for it
                    # Said before it is looked at: room that comes in between wakes us again.
                    runner._is_refusing = True
                    may_fetch = is_fetching or (runner._has_room() and bool(may_consume()))
                    runner._is_refusing = not may_fetch
                    return may_fetch

                qos.can_consume = can_consume

            def stop(self, c: Any) -> None:
                """Tell what has ended, if this is the end; the channel goes with its connection."""
                if state.should_stop is not None:
                    runner._deliveries.settle()
                    c.flush_events()

        return IntakeStep


def _nothing() -> None:
    """Only wakes the hub."""


def _build_consumer_class(ask_store: Callable[[], Callable[[], bool]]) -> type[Consumer]:
    class PromptConsumer(Consumer):  # type: ignore[misc]
        """Celery's consumer, which is back as soon as Redis is.

        Celery waits longer after each failed attempt, up to 30 s; so it tries once whenever the
        beats, which are made all the time, have seen that Redis answers. And it sends events in
        groups; Celery would at every turn of its loop.
        """

        is_flush_due = False

        def on_send_event_buffered(self) -> None:
            if not self.is_flush_due:
                self.is_flush_due = True
                self.hub.call_later(_EVENTS_S, self.flush_events)

        def flush_events(self) -> None:
            """Send the events that were gathered."""
            self.is_flush_due = False
            self._flush_events()

        def ensure_connected(self, conn: Any) -> Any:
            while True:
                has_answered = ask_store()
                while not has_answered():
                    state.maybe_shutdown()
                    time.sleep(_RECONNECT_POLL_S)
                try:
                    conn.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
                except OperationalError as error:
                    _log.warning("consumer_not_connected", error=str(error))
                else:
                    self.first_connection_attempt = False
                    return conn

    return PromptConsumer


def _build_app(redis_url: str, queue: str) -> Celery:
    app = build_celery_app(redis_url)
    app.conf.update(
        # Not declared: the store pushes onto the queue itself, so nothing looks up its bindings,
        # and a worker that wrote one could not connect to a full Redis.
        task_queues=[Queue(queue, no_declare=True)],  # type: ignore[no-untyped-call]
        worker_enable_remote_control=False,
        worker_enable_prefetch_count_reduction=False,  # there is no prefetch to reduce
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
    )

    @app.task(name=TASK_NAME, ignore_result=True)  # type: ignore[untyped-decorator]
    def run(name: str) -> None:
        """Only names the task: our pool does what its messages say."""

    app.finalize()
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)  # two lines a task say nothing new
    return app


def start_exit_timer(budget_s: float, exit_now: Callable[[], None]) -> threading.Timer:
    """Call *exit_now* after *budget_s*, whatever hangs; returns the timer, already started."""
    timer = threading.Timer(budget_s, exit_now)
    timer.daemon = True
    timer.start()
    return timer
