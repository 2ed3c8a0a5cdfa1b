"""Who decides how many replicas there are: llmjobs, KEDA's rules, or one who knows the future."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmjobs_bench.simulation.fleet import COLD_START_S
from llmjobs_bench.simulation.load import DAY_S, Load
from llmjobs_core.names import PoolKey
from llmjobs_core.pools import PoolRegistration, PoolStats
from llmjobs_core.resources.pool import LLMWorkerPoolSpec
from llmjobs_operator.scaling import Need, decide_replicas

POOL = PoolKey("simulation", "large")


@dataclass(frozen=True, slots=True)
class Reading:
    """What can be seen of the pool."""

    now_s: float
    queued: int
    """Requests that wait, handed to Celery or not."""
    dispatched: int
    running: int
    replicas: int
    """Pods there are, starting ones included."""
    ready: int
    last_active_s: float


class Policy(Protocol):
    """Decides now and then."""

    every_s: float

    def decide(self, reading: Reading) -> int:
        """Return how many replicas there are to be."""


class Llmjobs:
    """The operator's own function, looked at every second."""

    every_s = 1.0

    def __init__(self, spec: LLMWorkerPoolSpec) -> None:
        self._spec = spec
        self._registration = PoolRegistration(key=POOL, models=tuple(spec.models))
        window_s = max(
            spec.scaling.scale_up_stabilization_seconds,
            spec.scaling.scale_down_stabilization_seconds,
        )
        self._history: deque[Need] = deque(maxlen=int(window_s / self.every_s) + 2)

    def decide(self, reading: Reading) -> int:
        """Ask ``decide_replicas``."""
        now_ms = int(reading.now_s * 1000) + 1
        stats = PoolStats(
            registration=self._registration,
            backlog_jobs=reading.queued - reading.dispatched,
            queued=reading.queued,
            dispatched=reading.dispatched,
            running=reading.running,
            slots=reading.ready * self._spec.concurrency,
            workers=reading.ready,
            queued_cost=0,
            cost_per_s=None,
            requests_per_s=None,
            oldest_queued_ms=None,
            last_active_ms=int(reading.last_active_s * 1000) + 1,
            now_ms=now_ms,
        )
        decision = decide_replicas(
            self._spec,
            stats,
            current=reading.replicas,
            ready=reading.ready,
            history=self._history,
            now_ms=now_ms,
        )
        if decision.need is not None:
            self._history.append(decision.need)
        return reading.replicas if decision.replicas is None else decision.replicas


class Keda:
    """KEDA's scaler of a queue's length, and the HPA that it feeds, with their defaults.

    KEDA looks every 30 s, wakes the pool from zero, and lets it go back after 300 s without work.
    In between the HPA decides every 15 s: ceil(length / target), left alone within 10 %; up by
    100 % or 4 pods in 15 s; down by the highest wish of the last 300 s.
    Sources: KEDA's ScaledObject specification (pollingInterval, cooldownPeriod); Kubernetes'
    documentation of the HPA (algorithm, default behaviour).
    """

    every_s = 15.0
    _POLL_S = 30.0
    _COOLDOWN_S = 300.0
    _STABILIZATION_S = 300.0
    _TOLERANCE = 0.1

    def __init__(self, target: float, *, most: int, counts_running: bool = False) -> None:
        """*target* is ``listLength``; *counts_running*: whether the queue tells what is in work.

        A list in Redis does not; RabbitMQ's count of messages does.
        """
        self._target = target
        self._most = most
        self._counts_running = counts_running
        self._wishes: deque[tuple[float, int]] = deque()
        self._length = 0
        self._polled_s = -math.inf

    def decide(self, reading: Reading) -> int:
        """Follow the length of the queue."""
        now_s, current = reading.now_s, reading.replicas
        if now_s - self._polled_s >= self._POLL_S:
            self._polled_s = now_s
            self._length = reading.queued + (reading.running if self._counts_running else 0)
        if current == 0:
            return min(1, self._length)
        if self._length == 0 and now_s - reading.last_active_s >= self._COOLDOWN_S:
            return 0
        wish = current
        if abs(self._length / (self._target * current) - 1) > self._TOLERANCE:
            wish = math.ceil(self._length / self._target)
        wish = max(1, min(self._most, wish))
        self._wishes.append((now_s, wish))
        while self._wishes[0][0] < now_s - self._STABILIZATION_S:
            self._wishes.popleft()
        if wish < current:
            return min(current, max(wish for _, wish in self._wishes))
        return min(wish, max(2 * current, current + 4))


class Oracle:
    """One who knows all arrivals and how long each job runs.

    Pods are ordered one cold start before they are needed, and kept through every dip that is
    shorter than a cold start: that is the least GPU time for a demand that is known. The demand is
    that of jobs which start at once, smoothed over the last *patience_s* seconds: so peaks are cut
    where jobs can wait, and as long as it is patient.
    """

    every_s = 1.0

    def __init__(self, load: Load, *, concurrency: int, most: int, patience_s: int) -> None:
        self._concurrency = concurrency
        demand = build_demand(load)
        smooth = np.convolve(demand, np.full(patience_s + 1, 1 / (patience_s + 1)))[: len(demand)]
        replicas = np.ceil(smooth / concurrency - 1e-9)
        gap = int(COLD_START_S)
        bridged = -_slide_max(-_slide_max(replicas, 0, gap), -gap, 0)
        self._plan = np.minimum(_slide_max(bridged, 0, gap), most).astype(int).tolist()

    def decide(self, reading: Reading) -> int:
        """Read the plan; nothing that runs is moved, and nothing is left over at its end."""
        place = min(int(reading.now_s), len(self._plan) - 1)
        in_flight = math.ceil(reading.running / self._concurrency)
        return max(int(self._plan[place]), in_flight, min(1, reading.queued))


def build_demand(load: Load) -> NDArray[np.float64]:
    """Return how many jobs run in each second, if each starts when it comes."""
    seconds = DAY_S * 2
    change = np.zeros(seconds + 1)
    begin = np.minimum(load.arrival_s.astype(int), seconds)
    end = np.minimum(np.ceil(load.arrival_s + load.service_s).astype(int), seconds)
    np.add.at(change, begin, 1)
    np.add.at(change, end, -1)
    return np.cumsum(change)[:seconds]


def _slide_max(values: NDArray[np.float64], behind: int, ahead: int) -> NDArray[np.float64]:
    """Return for each place the highest value from *behind* (<= 0) to *ahead* (>= 0) of it."""
    padded = np.pad(values, (-behind, ahead), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, ahead - behind + 1)
    return np.asarray(windows.max(axis=1))
