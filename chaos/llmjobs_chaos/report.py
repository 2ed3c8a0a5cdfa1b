"""The table of results in the reliability document. Pure: text in, text out.

A row holds all that is known of its scenario, date and seed included, so that playing some of them
again leaves the others as they were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmjobs_chaos.results import Outcome
from llmjobs_chaos.scenario import Scenario

BEGIN = "<!-- chaos:begin (written by make chaos) -->"
END = "<!-- chaos:end -->"
_HEAD = (
    "| scenario | what is done | measured | must reach | met | seed, date |\n"
    "|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True, slots=True)
class Played:
    """One scenario of a run."""

    scenario: Scenario
    outcome: Outcome
    took_s: float


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where and when a run was."""

    seed: int
    date: str
    machine: str
    versions: str


def build_row(played: Played, where: Circumstances) -> str:
    """Return the scenario's line of the table."""
    outcome = played.outcome
    measured = ", ".join(str(figure) for figure in outcome.figures)
    bounds = [figure.bound for figure in outcome.figures if figure.bound]
    verdict = "yes" if outcome.is_passed else "**no**"
    cells = [
        f"`{played.scenario.name}`",
        played.scenario.title,
        measured,
        ", ".join([*bounds, "every invariant"]),
        verdict,
        f"{where.seed}, {where.date}",
    ]
    return f"| {' | '.join(cells)} |"


def parse_rows(document: str) -> dict[str, str]:
    """Return the rows that *document* has, by the name of their scenario."""
    rows: dict[str, str] = {}
    _, begin, rest = document.partition(BEGIN)
    if begin:
        for line in rest.partition(END)[0].splitlines():
            if line.startswith("| `"):
                rows[line[3:].partition("`")[0]] = line
    return rows


def render(
    document: str, played: Sequence[Played], where: Circumstances, order: Sequence[str]
) -> str:
    """Return *document* with the rows of *played* in place of theirs, in the given order.

    Raises ValueError if the document has no place for the table.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no place for the table: {BEGIN} and {END}")
    fresh: Mapping[str, str] = {one.scenario.name: build_row(one, where) for one in played}
    rows = {**parse_rows(document), **fresh}
    table = _HEAD + "\n".join(rows[name] for name in order if name in rows)
    footer = f"Last run on {where.machine}; {where.versions}."
    return f"{before}{BEGIN}\n{table}\n\n{footer}\n{END}{after}"
