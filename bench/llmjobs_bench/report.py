"""Results as JSON, and the table in the document. Pure: values in, text out.

A row holds all that is known of it, date included, so that measuring some of them again leaves the
others as they were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llmjobs_bench.figures import Figure
from llmjobs_bench.machine import Machine
from llmjobs_bench.row import Row

BEGIN = "<!-- bench:begin (written by make bench) -->"
END = "<!-- bench:end -->"
_HEAD = (
    "| row | what is measured | must reach | measured | met | date |\n|---|---|---|---|---|---|\n"
)

_FAILURE_MAX = 300
"""Characters of an error's text that are told (arbitrary)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of a run."""

    row: Row
    figures: Sequence[Figure]
    took_s: float
    failure: str = ""
    """Why there are no figures; empty when there are."""

    @property
    def is_met(self) -> bool:
        """Whether it ended, and every bound is met."""
        return not self.failure and all(figure.is_met for figure in self.figures)


def build_line(measured: Measured, where: Machine) -> str:
    """Return the row's line of the table: what has a bound comes first."""
    figures = _sort(measured.figures)
    bounds = [f"{f.what} {f.bound}{f' {f.unit}' if f.unit else ''}" for f in figures if f.bound]
    cells = [
        f"`{measured.row.name}`",
        measured.row.title,
        "; ".join(bounds) or "told only",
        f"failed: {measured.failure}" if measured.failure else "; ".join(map(str, figures)),
        "yes" if measured.is_met else "**no**",
        where.date,
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def explain_failure(error: BaseException) -> str:
    """Return one line that says what *error* was; of a group, what each of it was, once."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(explain_failure(one) for one in error.exceptions))
    text = " ".join(str(error).split())[:_FAILURE_MAX]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def render_rows(rows: Sequence[Row]) -> str:
    """Return the names of *rows*, and what is measured in each."""
    width = max(len(row.name) for row in rows)
    return "\n".join(f"{row.name:{width}}  {row.title}" for row in rows)


def render_summary(measured: Sequence[Measured]) -> str:
    """Return a run's rows as a table for a terminal: one line a figure, what has a bound first."""
    width = max((len(one.row.name) for one in measured), default=0)
    lines = []
    for one in measured:
        verdict = "failed" if one.failure else "met" if one.is_met else "MISSED"
        head = f"{one.row.name:{width}}  {verdict:6}  {one.took_s:4.0f} s"
        told = [one.failure] if one.failure else [_tell(figure) for figure in _sort(one.figures)]
        for text in told or [""]:
            lines.append(f"{head}  {text}".rstrip())
            head = " " * len(head)
    met = sum(one.is_met for one in measured)
    return "\n".join([*lines, f"{met} of {len(measured)} met"])


def _sort(figures: Sequence[Figure]) -> list[Figure]:
    return sorted(figures, key=lambda figure: figure.bound is None)


def _tell(figure: Figure) -> str:
    if figure.bound is None:
        return str(figure)
    return f"{figure}, must be {figure.bound}{'' if figure.is_met else ': MISSED'}"


def parse_lines(document: str) -> dict[str, str]:
    """Return the lines of the table that *document* has, by the name of their row."""
    lines: dict[str, str] = {}
    _, begin, rest = document.partition(BEGIN)
    if begin:
        for line in rest.partition(END)[0].splitlines():
            if line.startswith("| `"):
                lines[line[3:].partition("`")[0]] = line
    return lines


def render(
    document: str, measured: Sequence[Measured], where: Machine, order: Sequence[str]
) -> str:
    """Return *document* with the lines of *measured* in place of theirs, in the given order.

    Raises ValueError if the document has no place for the table.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no place for the table: {BEGIN} and {END}")
    fresh = {one.row.name: build_line(one, where) for one in measured}
    lines: Mapping[str, str] = {**parse_lines(document), **fresh}
    table = _HEAD + "\n".join(lines[name] for name in order if name in lines)
    footer = f"Last run on {where.machine}; {where.versions}."
    return f"{before}{BEGIN}\n{table}\n\n{footer}\n{END}{after}"


def build_results(
    before: Mapping[str, Any], measured: Sequence[Measured], where: Machine
) -> dict[str, Any]:
    """Return the results with those of *measured* in place of theirs."""
    rows = dict(before.get("rows", {}))
    for one in measured:
        rows[one.row.name] = {
            **asdict(where),
            "title": one.row.title,
            "took_s": round(one.took_s, 1),
            "failure": one.failure,
            "is_met": one.is_met,
            "figures": [_build_figure(figure) for figure in one.figures],
        }
    return {"rows": rows}


def _build_figure(figure: Figure) -> dict[str, Any]:
    bound = figure.bound
    return {
        "what": figure.what,
        "unit": figure.unit,
        "median": figure.median,
        "runs": list(figure.values),
        "at_least": bound.at_least if bound else None,
        "at_most": bound.at_most if bound else None,
        "is_met": figure.is_met,
    }
