"""The day itself: arrivals, the fair backlog, Celery's queue, pods, and a policy that decides.

Jobs are handed out, moved and ended as the store and the workers do it; only time is made up.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llmjobs_bench.simulation.fair import FairBacklog
from llmjobs_bench.simulation.fleet import Fleet, Pod
from llmjobs_bench.simulation.load import CLASSES, Load
from llmjobs_bench.simulation.policies import Policy, Reading

RESUME_S = 2.0
"""What a job loses that is moved: the hand-over, and reading its prompt and text again."""
_SAMPLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Day:
    """What happened."""

    load: Load
    wait_s: NDArray[np.float64]
    """From each job's arrival to its first start."""
    gpu_hours: float
    """Of all pods, from creation to end."""
    moves: int
    """Jobs handed back by a pod that had to go."""
    time_s: list[float] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    replicas: list[int] = field(default_factory=list)

    @property
    def p95_wait_s(self) -> float:
        """The 95th percentile of the wait."""
        return float(np.percentile(self.wait_s, 95))


class _World:
    """The pool while the day goes on."""

    def __init__(self, load: Load, concurrency: int) -> None:
        self.load = load
        self.fleet = Fleet(concurrency)
        self.backlog = FairBacklog()
        self.sent: deque[int] = deque()
        """Celery's queue: workers take from its right end."""
        self.running = 0
        self.ends: list[tuple[float, int, int]] = []
        self.moves = 0
        self.last_active_s = 0.0
        self.first_start_s = np.full(len(load), np.nan)
        self._left_s = load.service_s.tolist()
        self._tokens = load.tokens.tolist()
        self._weight = load.weight.tolist()
        self._flow = load.tenant.tolist()
        self._class = [CLASSES[index] for index in load.job_class.tolist()]
        self._is_started = bytearray(len(load))
        self._run = [0] * len(load)
        """How often each job was started: an end of an earlier run does not count."""
        self._place: list[Pod | None] = [None] * len(load)
        self._end_s = [0.0] * len(load)

    def arrive(self, job: int) -> None:
        """Submit *job*."""
        self.backlog.add(
            job, self._flow[job], self._class[job], self._tokens[job], self._weight[job]
        )

    def end(self, job: int, run: int) -> bool:
        """End the run of *job*, unless it was moved meanwhile; returns whether it ended."""
        pod = self._place[job]
        if run != self._run[job] or pod is None:
            return False
        self._place[job] = None
        self.fleet.end(pod, job)
        self.running -= 1
        return True

    def move(self, jobs: list[int], now_s: float) -> None:
        """Take back what ran at pods that are gone: it goes on elsewhere, before all others."""
        for job in jobs:
            self._place[job] = None
            self._left_s[job] = max(0.0, self._end_s[job] - now_s) + RESUME_S
            self.running -= 1
            self.sent.append(job)
        self.moves += len(jobs)

    def hand_out(self, now_s: float) -> None:
        """Fill Celery's queue from the backlog, and the free slots from the queue."""
        slots, sent = self.fleet.slots, self.sent
        while taken := self.backlog.take(slots, self.running + len(sent)):
            job, is_urgent = taken
            if is_urgent:
                sent.append(job)
            else:
                sent.appendleft(job)
        while sent and (pod := self.fleet.find_free()) is not None:
            self._start(sent.pop(), pod, now_s)

    def _start(self, job: int, pod: Pod, now_s: float) -> None:
        self.fleet.start(pod, job)
        self._place[job] = pod
        self._run[job] += 1
        self.running += 1
        end_s = now_s + self._left_s[job]
        self._end_s[job] = end_s
        heapq.heappush(self.ends, (end_s, job, self._run[job]))
        if not self._is_started[job]:
            self._is_started[job] = 1
            self.first_start_s[job] = now_s

    def read(self, now_s: float) -> Reading:
        """Return what the policy sees."""
        queued = len(self.backlog) + len(self.sent)
        if queued or self.running:
            self.last_active_s = now_s
        return Reading(
            now_s=now_s,
            queued=queued,
            dispatched=len(self.sent),
            running=self.running,
            replicas=self.fleet.size,
            ready=self.fleet.ready,
            last_active_s=self.last_active_s,
        )


def simulate(load: Load, policy: Policy, *, concurrency: int) -> Day:
    """Return how the day goes until the last job has ended."""
    world = _World(load, concurrency)
    arrivals = [*load.arrival_s.tolist(), float("inf")]
    arrived = ended = 0
    next_look_s = next_sample_s = now_s = 0.0
    series: dict[str, list[int]] = {"queued": [], "running": [], "replicas": []}
    times_s: list[float] = []
    while ended < len(load):
        next_end_s = world.ends[0][0] if world.ends else float("inf")
        now_s = min(arrivals[arrived], next_end_s, next_look_s, world.fleet.next_ready_s)
        if now_s == arrivals[arrived]:
            world.arrive(arrived)
            arrived += 1
        elif now_s == next_end_s:
            _, job, run = heapq.heappop(world.ends)
            ended += world.end(job, run)
        elif now_s == next_look_s:
            reading = world.read(now_s)
            _scale(world, policy.decide(reading), now_s)
            next_look_s += policy.every_s
            if now_s >= next_sample_s:
                next_sample_s += _SAMPLE_S
                times_s.append(now_s)
                for name, values in series.items():
                    values.append(getattr(reading, name))
        else:
            world.fleet.count_to(now_s)
            world.fleet.admit(now_s)
        world.hand_out(now_s)
    world.fleet.count_to(now_s)
    return Day(
        load=load,
        wait_s=world.first_start_s - load.arrival_s,
        gpu_hours=world.fleet.gpu_s / 3600,
        moves=world.moves,
        time_s=times_s,
        **series,
    )


def _scale(world: _World, wanted: int, now_s: float) -> None:
    size = world.fleet.size
    if wanted > size:
        world.fleet.grow(wanted - size, now_s)
    elif wanted < size:
        world.move(world.fleet.shrink(size - wanted, now_s), now_s)
