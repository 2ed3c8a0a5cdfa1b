"""What a dashboard is made of. Values only; `grafana` turns them into JSON."""

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """Grafana's ids of the units in use."""

    COUNT = "short"
    SECONDS = "s"
    RATIO = "percentunit"
    PER_SECOND = "cps"
    REQUESTS_PER_SECOND = "reqps"
    DOLLARS = "currencyUSD"


class Kind(StrEnum):
    """Grafana's ids of the panels in use."""

    LINES = "timeseries"
    STAT = "stat"
    TABLE = "table"
    HEATMAP = "heatmap"


class Colour(StrEnum):
    """What a value means; names of Grafana's palette."""

    GOOD = "green"
    WARN = "orange"
    BAD = "red"
    PLAIN = "text"


@dataclass(frozen=True, slots=True)
class Step:
    """From *at* on, a value has this colour; None begins at the lowest."""

    at: float | None
    colour: Colour


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel and how its series are called."""

    expr: str
    legend: str
    """``{{label}}`` is filled in by Grafana. In a table, the title of the value's column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One question and its answer."""

    title: str
    description: str
    """What it shows, and what to make of it at night."""
    queries: tuple[Query, ...]
    unit: Unit
    kind: Kind = Kind.LINES
    width: int = 12
    """Of 24."""
    height: int = 8
    stacked: bool = False
    steps: tuple[Step, ...] = ()
    words: tuple[tuple[int, str, Colour], ...] = ()
    """What whole numbers are shown as."""
    column_units: tuple[tuple[str, Unit], ...] = ()
    """In a table, units of columns that differ from *unit*."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    has_pools: bool = True
    """Whether it can be narrowed to namespaces and pools."""
    has_price: bool = False
    """Whether it asks what a GPU costs."""

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, in order."""
        return tuple(panel for row in self.rows for panel in row.panels)


def stat(title: str, description: str, expr: str, unit: Unit, *steps: Step) -> Panel:
    """Return one number, as wide as a sixth of the page."""
    return Panel(
        title=title,
        description=description,
        queries=(Query(expr, title),),
        unit=unit,
        kind=Kind.STAT,
        width=4,
        height=4,
        steps=steps,
    )


def bad_from(at: float) -> tuple[Step, ...]:
    """Return steps of a value that should be low."""
    return (Step(None, Colour.GOOD), Step(at, Colour.BAD))


def warn_from(at: float) -> tuple[Step, ...]:
    """Return steps of a value that is better low."""
    return (Step(None, Colour.GOOD), Step(at, Colour.WARN))
