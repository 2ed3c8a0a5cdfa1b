"""What an expression of PromQL is about, by a real parser."""

import math
import re
from typing import Any

import promql_parser

from llmjobs_monitoring.dashboards import DASHBOARDS
from llmjobs_monitoring.panels import Dashboard

_MACROS = {"$__rate_interval": "1m", "$__range": "1h", "$gpu_price": "2.5"}


def fill_in(
    expression: str, *, namespace: str = "[^/]+", pool: str = ".+", interval: str = "1m"
) -> str:
    """Return the expression as Grafana sends it."""
    values = {**_MACROS, "$__rate_interval": interval, "$namespace": namespace, "$pool": pool}
    return re.sub(r"\$\w+", lambda found: values[found[0]], expression)


def list_series(expression: str) -> set[str]:
    """Return the names of the series that an expression selects; ValueError if it is none."""
    found: set[str] = set()

    def look(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name or _name_of(node.matchers))

    promql_parser.walk(promql_parser.parse(expression), look)
    return found


def _name_of(matchers: promql_parser.Matchers) -> str:
    return next(str(one.value) for one in matchers.matchers if one.name == "__name__")


def list_expressions(dashboard: Dashboard) -> list[tuple[str, str]]:
    """Return title and expression of every query of a dashboard."""
    return [(panel.title, query.expr) for panel in dashboard.panels for query in panel.queries]


def list_panels() -> dict[str, list[str]]:
    """Return the expressions of every panel of every dashboard, by dashboard and title."""
    return {
        f"{dashboard.uid}-{panel.title}": [query.expr for query in panel.queries]
        for dashboard in DASHBOARDS
        for panel in dashboard.panels
    }


def has_data(series: list[dict[str, Any]]) -> bool:
    """Whether any point of what a range query returned is a number."""
    return any(not math.isnan(float(value)) for one in series for _, value in one["values"])
