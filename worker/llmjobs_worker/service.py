"""The worker without Celery: its loop with all that runs in it, its lease threads, its probes."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence

import structlog
from prometheus_client import CollectorRegistry

from llmjobs_core.celery_app import build_celery_app, build_message_template
from llmjobs_core.names import ChunkRef
from llmjobs_core.store import (
    JobStore,
    LeaseStore,
    StoreOptions,
    WakeReader,
    build_sync_client,
)
from llmjobs_worker.drain import drain
from llmjobs_worker.engine_client import EngineClient, EngineTimeouts
from llmjobs_worker.health import EngineMonitor
from llmjobs_worker.held import AbortReason, HeldUnits, Loss
from llmjobs_worker.intake import Intake
from llmjobs_worker.keeper import Keeper
from llmjobs_worker.loop_thread import LoopThread
from llmjobs_worker.metrics import WorkerMetrics
from llmjobs_worker.pace import Pace
from llmjobs_worker.probes import ProbeServer
from llmjobs_worker.publisher import Publisher
from llmjobs_worker.relay import Relay
from llmjobs_worker.retry import RetryPolicy
from llmjobs_worker.run_chunk import ChunkRunner
from llmjobs_worker.run_unit import UnitRunner
from llmjobs_worker.settings import WorkerSettings

_DEAD_S = 60.0
"""A loop or lease thread that did not turn for so long will not again."""
_LEASE_TIMEOUT_S = 2.5
"""Of one beat or reap: when one is lost in a half-open connection, the next is still in time for
the lease; and a store that is a second away each way can be lived with."""
_STOP_TIMEOUT_S = 5.0

_log = structlog.get_logger(__name__)


class WorkerService:
    """One worker process's inside."""

    def __init__(
        self, settings: WorkerSettings, registry: CollectorRegistry, on_fatal: Callable[[], None]
    ) -> None:
        """*on_fatal* is called, from the loop's thread, when a part died that must not."""
        self._settings = settings
        self._on_fatal = on_fatal
        self.worker_id = settings.build_worker_id()
        self.metrics = WorkerMetrics(registry)
        self.metrics.slots.set(settings.concurrency)
        self._loop = LoopThread()
        self._held = HeldUnits()
        self.intake = Intake(settings.concurrency)
        self.metrics.slots_used.set_function(lambda: float(self.intake.slots.used))
        self.metrics.engine_healthy.set_function(lambda: float(self.intake.is_healthy))
        self._options = StoreOptions(
            url=settings.redis_url.get_secret_value(),
            prefix=settings.prefix,
            # Each slot may have a request and the result of the one before on their way.
            max_connections=2 * settings.concurrency + 16,
        )
        self._keeper = self._build_keeper()
        self.intake.listen(self._beat_on_change)
        self._announced = 0
        self._probes = ProbeServer(
            settings.bind_address,
            settings.metrics_port,
            registry,
            live=self._find_death,
            ready=self._find_unreadiness,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._chunks: ChunkRunner | None = None

    @property
    def probes_port(self) -> int:
        """Where the probes are answered."""
        return self._probes.port

    def start(self) -> None:
        """Start everything; the intake opens when the engine is healthy."""
        self._probes.start()
        self._loop.start()
        self._loop.submit(self._start_in_loop()).result()
        self._keeper.start()

    def start_chunk(
        self, chunk: ChunkRef, on_ended: Callable[[BaseException | None], None]
    ) -> None:
        """Have *chunk* run; *on_ended* is called from the loop's thread when it has ended."""
        if self._chunks is not None:
            self._loop.call(self._chunks.start, chunk, on_ended)

    def count_started(self) -> int:
        """Return how many chunks have begun so far."""
        return self._chunks.started if self._chunks is not None else 0

    def ask_store(self) -> Callable[[], bool]:
        """Ask Redis for a sign of life; returns what says whether one came since."""
        asked_s = time.monotonic()
        self._keeper.beat_now()
        return lambda: (self._keeper.last_beat_s or 0.0) > asked_s

    def begin_drain(self, on_drained: Callable[[], None]) -> None:
        """Hand everything back, then call *on_drained* from the loop's thread."""
        if self._chunks is None:
            on_drained()
            return
        future = self._loop.submit(drain(self.intake, self._held, self._chunks))
        future.add_done_callback(lambda _: on_drained())

    def stop(self) -> None:
        """Stop everything; the worker takes its leave of the store."""
        self._keeper.stop()
        self._loop.submit(self._stop_in_loop()).result(_STOP_TIMEOUT_S)
        self._loop.stop(_STOP_TIMEOUT_S)
        self._probes.stop()

    async def _start_in_loop(self) -> None:
        settings = self._settings
        self._engine = EngineClient(
            settings.engine_url,
            api_key=settings.engine_api_key.get_secret_value(),
            timeouts=EngineTimeouts(
                settings.connect_timeout_s, settings.first_byte_timeout_s, settings.idle_timeout_s
            ),
        )
        self._store = JobStore.connect(self._options)
        publisher = Publisher(self._store, self.metrics, self._held.abort)
        monitor = EngineMonitor(
            self._engine,
            self.intake,
            path=settings.health_path,
            kind=settings.engine_kind,
            on_unhealthy=lambda: self._held.abort_all(AbortReason.ENGINE_UNHEALTHY),
        )
        runner = UnitRunner(
            store=self._store,
            engine=self._engine,
            fetch_traits=lambda: monitor.traits,
            confirm_engine=monitor.confirm,
            relay=Relay(publisher, Pace(), self.metrics, monitor.note_alive),
            publisher=publisher,
            held=self._held,
            policy=RetryPolicy(settings.retry_base_ms, settings.retry_cap_s),
            metrics=self.metrics,
            dice=random.Random(),  # noqa: S311 - jitter is no secret
        )
        self._chunks = ChunkRunner(self._store, self.intake, runner, self.worker_id)
        for part in (publisher.run(), monitor.run()):
            task = asyncio.create_task(part)
            task.add_done_callback(self._check_part)
            self._tasks.append(task)

    async def _stop_in_loop(self) -> None:
        for task in self._tasks:
            task.remove_done_callback(self._check_part)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._engine.close()
        await self._store.close()

    def _check_part(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            _log.critical("worker_part_died", exc_info=task.exception())
            self._on_fatal()

    def _build_keeper(self) -> Keeper:
        template = build_message_template(build_celery_app(self._options.url))
        options = StoreOptions(
            self._options.url, self._options.prefix, _LEASE_TIMEOUT_S, max_connections=2
        )

        def build_leases() -> LeaseStore:
            return LeaseStore(build_sync_client(options), prefix=options.prefix, template=template)

        return Keeper(
            beats=build_leases(),
            reaps=build_leases(),
            wakes=WakeReader(options, self.worker_id),
            worker=self.worker_id,
            pool=self._settings.pool_key,
            intake=self.intake,
            held=self._held,
            metrics=self.metrics,
            fetch_loop_age_s=lambda: self._loop.age_s,
            on_losses=self._abort_from_thread,
            on_death=lambda: self._loop.call(self._on_fatal),
        )

    def _abort_from_thread(self, losses: Sequence[Loss]) -> None:
        self._loop.call(self._held.abort, losses)

    def _beat_on_change(self) -> None:
        """Tell the store of a change in slots at once; freed slots alone are no change."""
        slots = self.intake.announced_slots
        if slots != self._announced:
            self._announced = slots
            self._keeper.beat_now()

    def _find_death(self) -> str | None:
        for what, age_s in (("loop", self._loop.age_s), ("lease thread", self._keeper.age_s)):
            if age_s > _DEAD_S:
                return f"the {what} has not turned for {age_s:.0f} s"
        return None

    def _find_unreadiness(self) -> str | None:
        if self.intake.is_draining:
            return "draining"
        if not self.intake.is_healthy:
            return "the engine is not healthy"
        return None if self._keeper.last_beat_s is not None else "no beat yet"
