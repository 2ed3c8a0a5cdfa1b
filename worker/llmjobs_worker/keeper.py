"""Keeps this process's leases, from threads of its own, and reaps everybody's.

Threads and not tasks: a loop that is busy parsing tokens must not make its process look dead. But
a loop that is stuck for long must: then the leases are let go.
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from llmjobs_core.errors import LLMJobsError
from llmjobs_core.names import PoolKey
from llmjobs_core.store import LeaseStore, WakeReader
from llmjobs_core.store.leases import LEASE_S, REAP_S
from llmjobs_worker.held import HeldUnits, Loss, build_losses, find_lapsed, note_renewed
from llmjobs_worker.intake import Intake
from llmjobs_worker.metrics import WorkerMetrics

BEAT_S = 0.75
"""A cancelled request learns of it by the beat at the latest: in a second, round trip included.
Mostly the store wakes this worker, and it beats at once."""
FENCE_S = 2 * LEASE_S
"""Requests that could not be renewed for so long are aborted here. One lease would be enough to be
safe from waste; the second bridges a restart of Redis, after which the store spares living leases.
That no late result counts is the fence's work."""
STUCK_S = 30.0
"""A loop that did not turn for so long does not keep its leases."""
_FAILED_BEAT_S = 0.25
_WAKE_S = 1.0
"""How long the wake thread waits before it looks whether to stop."""

_log = structlog.get_logger(__name__)


class Keeper:
    """The lease threads of one worker process."""

    def __init__(
        self,
        *,
        beats: LeaseStore,
        reaps: LeaseStore,
        wakes: WakeReader,
        worker: str,
        pool: PoolKey,
        intake: Intake,
        held: HeldUnits,
        metrics: WorkerMetrics,
        fetch_loop_age_s: Callable[[], float],
        on_losses: Callable[[Sequence[Loss]], None],
        on_death: Callable[[], None],
    ) -> None:
        """*beats*, *reaps* and *wakes* have connections of their own.

        *on_losses* and *on_death* (a thread ended that must not) must be thread-safe.
        """
        self._beats = beats
        self._reaps = reaps
        self._wakes = wakes
        self._worker = worker
        self._pool = pool
        self._intake = intake
        self._held = held
        self._metrics = metrics
        self._fetch_loop_age_s = fetch_loop_age_s
        self._on_losses = on_losses
        self._on_death = on_death
        self._stop = threading.Event()
        self._beat_now = threading.Event()
        self._turned_s = time.monotonic()
        self.last_beat_s: float | None = None
        """``time.monotonic()`` of the last successful beat; None before the first."""
        self._threads = [
            threading.Thread(target=self._keep_on, args=(work,), name=name, daemon=True)
            for name, work in {
                "lease-beat": self._run_beats,
                "lease-reap": self._run_reaps,
                "lease-wake": self._run_wakes,
            }.items()
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads; the worker takes its leave of the store with a last beat."""
        self._stop.set()
        self._beat_now.set()
        for thread in self._threads:
            thread.join(timeout=LEASE_S)

    def beat_now(self) -> None:
        """Do not wait for the next beat's time."""
        self._beat_now.set()

    @property
    def age_s(self) -> float:
        """Seconds since the beat thread turned, whether or not the store answered."""
        return time.monotonic() - self._turned_s

    def _keep_on(self, work: Callable[[], None]) -> None:
        """Do *work*; a process whose thread ended by an error of ours must not go on without it."""
        try:
            work()
        finally:
            if not self._stop.is_set():
                _log.critical("lease_thread_died", thread=threading.current_thread().name)
                self._on_death()

    def _run_beats(self) -> None:
        is_away = False
        while not self._stop.is_set():
            self._beat_now.clear()
            self._turned_s = time.monotonic()
            is_kept = self._beat()
            if is_kept is is_away:
                is_away = not is_kept
                _log.warning("leases_not_renewed" if is_away else "leases_renewed_again")
            if lapsed := find_lapsed(self._held.snapshot(), time.monotonic(), FENCE_S):
                self._on_losses(lapsed)
            self._beat_now.wait(BEAT_S if is_kept else _FAILED_BEAT_S)
        self._beat()

    def _beat(self) -> bool:
        if self._fetch_loop_age_s() > STUCK_S:
            self._metrics.beats.labels("skipped").inc()
            return False
        units = self._held.snapshot()
        slots = 0 if self._stop.is_set() else self._intake.announced_slots
        held = [(unit.ref, unit.fence) for unit in units]
        try:
            result = self._beats.renew(self._worker, self._pool, slots, held)
        except LLMJobsError:
            self._metrics.beats.labels("failed").inc()
            return False
        self._metrics.beats.labels("renewed").inc()
        self.last_beat_s = time.monotonic()
        lost = {item.ref for item in result.lost}
        note_renewed([unit for unit in units if unit.ref not in lost], result.sent_at_s)
        if losses := build_losses(result.lost, {unit.ref: unit.fence for unit in units}):
            self._on_losses(losses)
        return True

    def _run_reaps(self) -> None:
        while not self._stop.wait(REAP_S):
            try:
                report = self._reaps.reap()
            except LLMJobsError:
                continue  # the beats say that the store is away
            if report.recovered or report.poisoned:
                _log.info("leases_reaped", recovered=report.recovered, poisoned=report.poisoned)

    def _run_wakes(self) -> None:
        while not self._stop.is_set():
            try:
                is_told = self._wakes.wait(_WAKE_S)
            except LLMJobsError:
                self._stop.wait(_FAILED_BEAT_S)
                continue
            if is_told:
                self._beat_now.set()
