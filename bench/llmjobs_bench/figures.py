"""What a row measured, run by run, against what it must reach. Pure."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class SelfCheckFailed(Exception):
    """The work was not done right (lost events, wrong text), so how fast it was says nothing."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure must reach; one of the two."""

    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, value: float) -> bool:
        """Whether *value* is within; what could not be measured is not."""
        if math.isnan(value):
            return False
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is None or value <= self.at_most

    def __str__(self) -> str:
        if self.at_least is not None:
            return f"≥ {format_number(self.at_least)}"
        return "" if self.at_most is None else f"≤ {format_number(self.at_most)}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a row: its median over the runs counts, and its spread is shown."""

    what: str
    """A few words, unique within the row: ``of a bare route``."""
    values: Sequence[float]
    """One a run."""
    unit: str = ""
    """Empty for a ratio."""
    bound: Bound | None = None
    """None for a number that is only told, such as the reference of a ratio."""

    @property
    def median(self) -> float:
        """The middle of the runs; NaN where there were none."""
        return statistics.median(self.values) if self.values else math.nan

    @property
    def is_met(self) -> bool:
        """Whether the median is within its bound."""
        return self.bound is None or self.bound.is_met(self.median)

    def __str__(self) -> str:
        number = format_number(self.median)
        if len(self.values) > 1:
            lowest, highest = format_number(min(self.values)), format_number(max(self.values))
            number += f" ({lowest} to {highest})"
        return f"{self.what} {number}{f' {self.unit}' if self.unit else ''}"


def divide(ours: Iterable[float], theirs: Iterable[float]) -> list[float]:
    """Return the ratio of each run: *ours* over *theirs* of the same run."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that *percent* of all are not above; NaN for none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def format_number(value: float) -> str:
    """Return *value* with three digits that count, thousands set apart."""
    if math.isnan(value):
        return "unknown"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
