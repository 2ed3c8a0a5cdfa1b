"""What a scenario measured, against what it must reach. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number and the most it may be."""

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    """None for a number that is only told."""

    @property
    def is_met(self) -> bool:
        """Whether it is within its bound; a number that could not be measured is not."""
        return self.at_most is None or (not math.isnan(self.value) and self.value <= self.at_most)

    def __str__(self) -> str:
        number = f"{self.value:.2f}".rstrip("0").rstrip(".")
        return f"{self.what} {number}{f' {self.unit}' if self.unit else ''}"

    @property
    def bound(self) -> str:
        """The bound in words; empty where there is none."""
        if self.at_most is None:
            return ""
        number = f"{self.at_most:g}{f' {self.unit}' if self.unit else ''}"
        return f"{self.what} {number if self.at_most == 0 else f'≤ {number}'}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a scenario."""

    figures: Sequence[Figure]
    violations: Sequence[str] = field(default=())
    """Invariants that did not hold, each as a sentence."""

    @property
    def is_passed(self) -> bool:
        """Whether every bound is met and every invariant holds."""
        return not self.violations and all(figure.is_met for figure in self.figures)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that *percent* of all are not above; NaN for none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def highest(values: Sequence[float]) -> float:
    """Return the highest value; NaN for none."""
    return max(values, default=math.nan)
