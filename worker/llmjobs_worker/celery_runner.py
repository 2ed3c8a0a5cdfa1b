"""Celery's part of the worker: it delivers chunk messages, each to a thread, while there is room.

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
from celery.concurrency.thread import TaskPool
from celery.worker import WorkController, state
from celery.worker.consumer import Consumer
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from llmjobs_core.celery_app import build_celery_app
from llmjobs_core.names import TASK_NAME, ChunkRef
from llmjobs_worker.intake import Intake

_RECONNECT_POLL_S = 0.05

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
        run_chunk: Callable[[ChunkRef], None],
        fetch_started: Callable[[], int],
        ask_store: Callable[[], Callable[[], bool]],
    ) -> None:
        """*run_chunk* blocks a thread until the chunk has ended; *fetch_started* counts those.

        *ask_store* asks Redis for a sign of life; what it gives says whether one came since.
        """
        self._intake = intake
        self._fetch_started = fetch_started
        self._hub: Any = None
        self._exit_code: int | None = None
        app = _build_app(redis_url, queue, run_chunk)
        app.steps["consumer"].add(self._build_step())
        hostname = f"{queue}@{name}"
        setup_worker_optimizations(app, hostname)
        self._worker = WorkController(
            app=app,
            hostname=hostname,
            queues=[queue],
            concurrency=intake.slots.total,
            pool_cls=_build_pool_class(self.wake),
            consumer_cls=_build_consumer_class(ask_store),
            without_mingle=True,
            without_gossip=True,
        )
        intake.listen(self.wake)

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
        hub = self._hub
        if hub is not None:
            hub.call_soon(_nothing)

    def _has_room(self) -> bool:
        arriving = max(0, len(state.reserved_requests) - self._fetch_started())
        return self._intake.has_room(arriving)

    def _build_step(self) -> type[bootsteps.StartStopStep]:
        runner = self

        class IntakeStep(bootsteps.StartStopStep):  # type: ignore[misc]
            """Puts the intake in front of every fetch; started anew with each connection."""

            requires = ("celery.worker.consumer.tasks:Tasks",)

            def start(self, c: Any) -> None:
                runner._hub = c.hub
                channel = c.task_consumer.channel
                # What was fetched and not begun when a connection broke is sent again by the store.
                channel.do_restore = False
                qos = channel.qos
                may_consume = qos.can_consume

                def can_consume() -> bool:
                    # A fetch that is on its way may bring a message after the room is gone: it is
                    # read all the same, and handed on, instead of waiting unread for room here.
                    is_fetching = bool(channel._in_poll)  # noqa: SLF001 - kombu has no other word for it
                    return is_fetching or (runner._has_room() and may_consume())

                qos.can_consume = can_consume

            def stop(self, c: Any) -> None:
                """Nothing to undo: the channel goes with its connection."""

        return IntakeStep


def _nothing() -> None:
    """Only wakes the hub."""


def _build_consumer_class(ask_store: Callable[[], Callable[[], bool]]) -> type[Consumer]:
    class PromptConsumer(Consumer):  # type: ignore[misc]
        """Celery's consumer, which is back as soon as Redis is.

        Celery waits longer after each failed attempt, up to 30 s; so it tries once whenever the
        beats, which are made all the time, have seen that Redis answers.
        """

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


def _build_pool_class(on_ended: Callable[[], None]) -> type[TaskPool]:
    class WakingPool(TaskPool):  # type: ignore[misc]
        """Celery's thread pool, which tells the consumer when a thread has become free."""

        def on_apply(self, *args: Any, **kwargs: Any) -> Any:
            result = super().on_apply(*args, **kwargs)
            result.f.add_done_callback(lambda _: on_ended())
            return result

    return WakingPool


def _build_app(redis_url: str, queue: str, run_chunk: Callable[[ChunkRef], None]) -> Celery:
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
        try:
            chunk = ChunkRef.parse(name)
        except (ValueError, AttributeError):
            _log.warning("message_is_no_chunk")
            return
        run_chunk(chunk)

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
