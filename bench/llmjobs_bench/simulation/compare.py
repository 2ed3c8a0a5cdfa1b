"""llmjobs, an oracle and KEDA's rules on the same day, and what must hold between them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llmjobs_bench.simulation.day import Day, simulate
from llmjobs_bench.simulation.load import Load, build_load
from llmjobs_bench.simulation.policies import Keda, Llmjobs, Oracle
from llmjobs_core.resources.pool import LLMWorkerPoolSpec

CONCURRENCY = 4
"""Requests in flight per replica."""
JOBS_PER_REPLICA = 100
"""Jobs of the day for each replica of the most there may be: 1,000,000 for 10,000."""
ORACLE_BOUND = 1.25
_PATIENCE_S = (0, 600)
_STEPS = 6


def build_spec(jobs: int, target: int | None = None) -> LLMWorkerPoolSpec:
    """Return the pool: everything as by default, but for its size and *target*."""
    scaling = {"maxReplicas": max(2, jobs // JOBS_PER_REPLICA), "targetPerReplica": target}
    return LLMWorkerPoolSpec.model_validate(
        {
            "models": ["large"],
            "engine": {"external": {"baseURL": "http://engine"}},
            "concurrency": CONCURRENCY,
            "scaling": scaling,
        }
    )


def run_llmjobs(load: Load, target: int | None = None) -> Day:
    """Let the operator's function scale."""
    return simulate(load, Llmjobs(build_spec(len(load), target)), concurrency=CONCURRENCY)


def run_keda(load: Load, target: float, *, counts_running: bool) -> Day:
    """Let KEDA and the HPA scale, on the same workers."""
    most = build_spec(len(load)).scaling.max_replicas
    policy = Keda(target, most=most, counts_running=counts_running)
    return simulate(load, policy, concurrency=CONCURRENCY)


def run_oracle(load: Load, patience_s: int) -> Day:
    """Let one who knows the future scale."""
    most = build_spec(len(load)).scaling.max_replicas
    policy = Oracle(load, concurrency=CONCURRENCY, most=most, patience_s=patience_s)
    return simulate(load, policy, concurrency=CONCURRENCY)


def find_oracle(load: Load, p95_wait_s: float) -> tuple[Day, int]:
    """Return the most patient oracle whose p95 wait is not longer, and its patience in seconds."""
    least, most = _PATIENCE_S
    best, patience_s = run_oracle(load, least), least
    for _ in range(_STEPS):
        middle = (least + most) // 2
        day = run_oracle(load, middle)
        if day.p95_wait_s <= p95_wait_s:
            best, patience_s, least = day, middle, middle
        else:
            most = middle
    return best, patience_s


def compute_floor(load: Load) -> float:
    """Return the GPU-hours that no policy can do without: all slots full, and no start."""
    return float(load.service_s.sum()) / CONCURRENCY / 3600


@dataclass(frozen=True, slots=True)
class Comparison:
    """One day, four times."""

    llmjobs: Day
    oracle: Day
    patience_s: int
    keda: Day
    """On all that waits or runs, a target of one replica's slots: what KEDA can do best."""
    keda_queue: Day
    """On the length of the list, as its Redis scaler sees it, with its default target of 5."""

    @property
    def of_oracle(self) -> float:
        """GPU-hours of llmjobs over the oracle's."""
        return self.llmjobs.gpu_hours / self.oracle.gpu_hours

    def find_misses(self) -> list[str]:
        """Return what does not hold; empty if all does."""
        ours, keda = self.llmjobs, self.keda
        wanted = {
            f"{self.of_oracle:.3f} of the oracle's GPU-hours": self.of_oracle <= ORACLE_BOUND,
            "an oracle that waits longer": self.oracle.p95_wait_s <= ours.p95_wait_s,
            "more GPU-hours than KEDA's": ours.gpu_hours < keda.gpu_hours,
            "a longer p95 wait than KEDA's": ours.p95_wait_s < keda.p95_wait_s,
            "a longer p95 wait than by the list": ours.p95_wait_s < self.keda_queue.p95_wait_s,
        }
        return [what for what, holds in wanted.items() if not holds]


def compare(jobs: int, seed: int, say: Callable[[str], None]) -> Comparison:
    """Run the day under each policy."""
    load = build_load(jobs, seed)
    ours = run_llmjobs(load)
    say(f"llmjobs: {describe(ours)}")
    oracle, patience_s = find_oracle(load, ours.p95_wait_s)
    say(f"oracle: {describe(oracle)}")
    keda = run_keda(load, CONCURRENCY, counts_running=True)
    say(f"KEDA: {describe(keda)}")
    keda_queue = run_keda(load, 5, counts_running=False)
    say(f"KEDA by the list: {describe(keda_queue)}")
    return Comparison(ours, oracle, patience_s, keda, keda_queue)


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of the sweep."""

    policy: str
    target: float
    gpu_hours: float
    p95_wait_s: float


def sweep(jobs: int, seed: int) -> Iterator[Point]:
    """Yield what each policy makes of a smaller day, by its target."""
    load = build_load(jobs, seed)
    for target in (2, 3, 4, 5):
        yield _build_point("llmjobs", target, run_llmjobs(load, target))
    for goal in (2.5, 3, 3.5, 3.75, 4, 5):
        day = run_keda(load, goal, counts_running=True)
        yield _build_point("KEDA, waiting and running", goal, day)
    for goal in (0.5, 1, 2, 5, 10):
        day = run_keda(load, goal, counts_running=False)
        yield _build_point("KEDA, waiting only", goal, day)


def _build_point(policy: str, target: float, day: Day) -> Point:
    return Point(policy, target, day.gpu_hours, day.p95_wait_s)


def find_better(points: list[Point], ours: Point) -> list[Point]:
    """Return the settings of others that beat *ours* in GPU-hours and in waiting."""
    return [
        point
        for point in points
        if point.policy != ours.policy
        and point.gpu_hours <= ours.gpu_hours
        and point.p95_wait_s <= ours.p95_wait_s
    ]


def describe(day: Day) -> str:
    """Return the two numbers that count."""
    return f"{day.gpu_hours:,.0f} GPU-hours, p95 wait {day.p95_wait_s:.1f} s, {day.moves:,} moves"
