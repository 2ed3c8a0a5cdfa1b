"""``make simulate``: a day of 1,000,000 jobs, its pictures, and the table in the document.

Exits with 1 where llmjobs is not as good as it must be.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmjobs_bench.simulation.compare import (
    JOBS_PER_REPLICA,
    Comparison,
    Point,
    compare,
    compute_floor,
    find_better,
    sweep,
)
from llmjobs_bench.simulation.day import Day
from llmjobs_bench.simulation.load import CLASSES, TENANTS
from llmjobs_bench.simulation.plots import draw_all

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "simulation.md"
IMAGES = ROOT / "docs" / "images"
BEGIN = "<!-- simulation:begin (written by make simulate) -->"
END = "<!-- simulation:end -->"
_SWEEP_PART = 10


def main() -> None:
    """Simulate, report, exit."""
    parser = argparse.ArgumentParser(prog="make simulate", description="Simulate a day")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    began_s = time.perf_counter()
    comparison = compare(options.jobs, options.seed, print)
    points = list(sweep(options.jobs // _SWEEP_PART, options.seed))
    ours = next(p for p in points if p.policy == "llmjobs" and p.target == 4)
    misses = comparison.find_misses()
    misses += [f"{p.policy} at {p.target:g} is better in both" for p in find_better(points, ours)]
    print(f"{comparison.of_oracle:.3f} of the oracle's GPU-hours at no longer a p95 wait")
    print(f"took {time.perf_counter() - began_s:.0f} s")
    if not options.dry:
        draw_all(IMAGES, comparison, points)
        document = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(render(document, comparison, points, options.seed), encoding="utf-8")
    if misses:
        print(f"missed: {'; '.join(misses)}")
        sys.exit(1)


def render(document: str, comparison: Comparison, points: Sequence[Point], seed: int) -> str:
    """Return *document* with the results of this run in their place."""
    before, _, rest = document.partition(BEGIN)
    after = rest.partition(END)[2]
    parts = [BEGIN, _build_table(comparison, seed), _build_waits(comparison), _build_sweep(points)]
    return before + "\n\n".join(parts) + f"\n{END}" + after


def _build_table(comparison: Comparison, seed: int) -> str:
    days = {
        "oracle": comparison.oracle,
        "**llmjobs**": comparison.llmjobs,
        "KEDA on waiting and running jobs, target 4": comparison.keda,
        "KEDA on waiting jobs, `listLength` 5": comparison.keda_queue,
    }
    load = comparison.llmjobs.load
    floor = compute_floor(load)
    intro = (
        f"{len(load):,} jobs, at most {len(load) // JOBS_PER_REPLICA:,} replicas, seed {seed}. All "
        f"slots full and no start: {floor:,.0f} GPU-hours. The oracle's patience is "
        f"{comparison.patience_s} s."
    )
    lines = [
        intro,
        "",
        "| policy | GPU-hours | of the oracle's | wait p50 | p95 | p99 | most replicas | moves |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, day in days.items():
        p50, p95, p99 = np.percentile(day.wait_s, (50, 95, 99))
        lines.append(
            f"| {name} | {day.gpu_hours:,.0f} | {day.gpu_hours / comparison.oracle.gpu_hours:.3f} "
            f"| {p50:,.1f} s | {p95:,.1f} s | {p99:,.0f} s | {max(day.replicas):,} "
            f"| {day.moves:,} |"
        )
    return "\n".join(lines)


def _build_waits(comparison: Comparison) -> str:
    load = comparison.llmjobs.load
    parts = {f"class {name}": load.job_class == index for index, name in enumerate(CLASSES)}
    for index, tenant in enumerate(TENANTS):
        parts[f"namespace {tenant.name}, weight {tenant.weight}"] = load.tenant == index
    lines = ["| jobs of | how many | llmjobs p95, p99 | KEDA p95, p99 |", "|---|---|---|---|"]

    def tell(day: Day, part: NDArray[np.bool_]) -> str:
        p95, p99 = np.percentile(day.wait_s[part], (95, 99))
        return f"{p95:,.1f} s, {p99:,.0f} s"

    for name, part in parts.items():
        ours, keda = tell(comparison.llmjobs, part), tell(comparison.keda, part)
        lines.append(f"| {name} | {int(part.sum()):,} | {ours} | {keda} |")
    return "\n".join(lines)


def _build_sweep(points: Sequence[Point]) -> str:
    lines = ["| policy, a tenth of the day | target | GPU-hours | p95 wait |", "|---|---|---|---|"]
    lines += [
        f"| {p.policy} | {p.target:g} | {p.gpu_hours:,.0f} | {p.p95_wait_s:,.1f} s |"
        for p in points
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
