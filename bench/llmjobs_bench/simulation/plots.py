"""The day as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from llmjobs_bench.simulation.compare import CONCURRENCY, Comparison, Point
from llmjobs_bench.simulation.day import Day
from llmjobs_bench.simulation.load import CLASSES, TENANTS

_COLOURS = {"llmjobs": "#1f6feb", "oracle": "#8b949e", "KEDA": "#d1242f", "list": "#bf8700"}
_STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def draw_all(folder: Path, comparison: Comparison, points: Sequence[Point]) -> None:
    """Write every picture into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        _save(folder / "simulation-day.png", _draw_day(comparison))
        _save(folder / "simulation-wait.png", _draw_waits(comparison))
        _save(folder / "simulation-cost.png", _draw_cost(comparison, points))


def _save(path: Path, figure: Figure) -> None:
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _draw_day(comparison: Comparison) -> Figure:
    figure = Figure(figsize=(9, 7), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    days = {"oracle": comparison.oracle, "KEDA": comparison.keda, "llmjobs": comparison.llmjobs}
    for name, day in days.items():
        hours = np.array(day.time_s) / 3600
        top.plot(hours, day.replicas, color=_COLOURS[name], label=name, linewidth=1)
        middle.plot(hours, np.array(day.queued) + 1, color=_COLOURS[name], linewidth=1)
        used = np.array(day.running) / np.maximum(1, np.array(day.replicas) * CONCURRENCY)
        bottom.plot(hours, used * 100, color=_COLOURS[name], linewidth=1)
    top.set_ylabel("replicas")
    top.legend(ncols=3, loc="upper left")
    middle.set_yscale("log")
    middle.set_ylabel("jobs that wait, + 1")
    bottom.set_ylabel("slots that work, %")
    bottom.set_ylim(0, 105)
    bottom.set_xlabel("hour of the day")
    bottom.set_xlim(0, max(comparison.llmjobs.time_s) / 3600)
    return figure


def _draw_waits(comparison: Comparison) -> Figure:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    load = comparison.llmjobs.load
    by_class = [load.job_class == index for index in range(len(CLASSES))]
    by_tenant = [load.tenant == index for index in range(len(TENANTS))]
    _draw_bars(left, comparison, [str(name) for name in CLASSES], by_class)
    names = [f"{tenant.name}\nweight {tenant.weight}" for tenant in TENANTS]
    _draw_bars(right, comparison, names, by_tenant)
    left.set_ylabel("wait, s: p95, and p99 as a mark")
    left.legend(loc="upper left")
    return figure


def _draw_bars(axes: Any, comparison: Comparison, names: list[str], parts: list[Any]) -> None:
    days = {"llmjobs": comparison.llmjobs, "oracle": comparison.oracle, "KEDA": comparison.keda}
    width = 0.8 / len(days)
    for place, (name, day) in enumerate(days.items()):
        at = np.arange(len(names)) + (place - 1) * width
        axes.bar(at, _percentiles(day, parts, 95), width, color=_COLOURS[name], label=name)
        axes.plot(at, _percentiles(day, parts, 99), "_", color="black", markersize=9)
    axes.set_xticks(np.arange(len(names)), names, fontsize=8)
    axes.grid(visible=False, axis="x")


def _percentiles(day: Day, parts: list[Any], percent: float) -> list[float]:
    return [float(np.percentile(day.wait_s[part], percent)) for part in parts]


def _draw_cost(comparison: Comparison, points: Sequence[Point]) -> Figure:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
    days = {
        "oracle": comparison.oracle,
        "llmjobs": comparison.llmjobs,
        "KEDA": comparison.keda,
        "list": comparison.keda_queue,
    }
    names = ["oracle", "llmjobs", "KEDA,\nall", "KEDA,\nwaiting only"]
    hours = [day.gpu_hours for day in days.values()]
    bars = left.bar(names, hours, color=[_COLOURS[name] for name in days])
    waits = [f"p95 {day.p95_wait_s:,.0f} s" for day in days.values()]
    left.bar_label(bars, waits, fontsize=8)
    left.set_ylabel("GPU-hours")
    left.grid(visible=False, axis="x")
    colours = [_COLOURS[name] for name in ("llmjobs", "KEDA", "list")]
    for colour, name in zip(colours, dict.fromkeys(p.policy for p in points), strict=True):
        some = [point for point in points if point.policy == name]
        x, y = [point.gpu_hours for point in some], [max(1, point.p95_wait_s) for point in some]
        right.plot(x, y, "o-", color=colour, label=name, markersize=4, linewidth=1)
        for point, at, up in zip(some, x, y, strict=True):
            right.annotate(f"{point.target:g}", (at, up), (3, 3), textcoords="offset points")
    right.set_yscale("log")
    right.set_xlabel("GPU-hours, a tenth of the day (numbers: target a replica)")
    right.set_ylabel("p95 wait, s")
    right.legend(loc="upper right")
    return figure
