"""Dashboards as Grafana's JSON. Pure, and the same bytes for the same input."""

import json
from collections.abc import Iterator
from typing import Any

from llmjobs_monitoring.panels import Dashboard, Kind, Panel, Query, Row, Step

SCHEMA_VERSION = 39
"""Of Grafana 11; older and newer ones migrate it."""
TAG = "llmjobs"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_ROW_HEIGHT = 1
_PAGE_WIDTH = 24


def render_dashboard(dashboard: Dashboard) -> str:
    """Return the file of a dashboard."""
    return json.dumps(build_dashboard(dashboard), indent=2, ensure_ascii=False) + "\n"


def build_dashboard(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard's model."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_alert_annotation()]},
        "links": [_link_to_others()],
        "templating": {"list": list(_variables(dashboard))},
        "panels": list(_lay_out(dashboard.rows)),
    }


def _variables(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
    }
    if dashboard.has_pools:
        pools = "label_values(llmjobs_pool_accepting, pool)"
        yield _pool_variable("namespace", "Namespace", pools, "/^([^/]+)/", "[^/]+")
        chosen = 'label_values(llmjobs_pool_accepting{pool=~"$namespace/.+"}, pool)'
        yield _pool_variable("pool", "Pool", chosen, "/^[^/]+\\/(.+)$/", ".+")
    if dashboard.has_price:
        yield {
            "name": "gpu_price",
            "label": "USD per GPU hour",
            "type": "textbox",
            "query": "2.50",
            "current": {"text": "2.50", "value": "2.50"},
        }


def _pool_variable(name: str, label: str, query: str, regex: str, every: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "regex": regex,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": every,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _alert_annotation() -> dict[str, Any]:
    return {
        "name": "Alerts that fire",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"LLMJobs.+", alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{pool}}",
    }


def _link_to_others() -> dict[str, Any]:
    return {
        "title": "llmjobs",
        "type": "dashboards",
        "tags": [TAG],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }


def _lay_out(rows: tuple[Row, ...]) -> Iterator[dict[str, Any]]:
    """Yield rows and panels from left to right, top to bottom."""
    number, top = 0, 0
    for row in rows:
        number += 1
        yield _build_row(row, number, top)
        top += _ROW_HEIGHT
        left, line_height = 0, 0
        for panel in row.panels:
            if left + panel.width > _PAGE_WIDTH:
                left, top, line_height = 0, top + line_height, 0
            number += 1
            yield _build_panel(panel, number, left, top)
            left += panel.width
            line_height = max(line_height, panel.height)
        top += line_height


def _build_row(row: Row, number: int, top: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": {"h": _ROW_HEIGHT, "w": _PAGE_WIDTH, "x": 0, "y": top},
        "panels": [],
    }


def _build_panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Any]:
    built = {
        "id": number,
        "type": str(panel.kind),
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"h": panel.height, "w": panel.width, "x": left, "y": top},
        "targets": [
            _build_target(panel.kind, query, chr(ord("A") + at))
            for at, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _build_field(panel), "overrides": _build_overrides(panel)},
        "options": _build_options(panel),
    }
    if panel.kind is Kind.TABLE:
        built["transformations"] = _merge_columns(panel.queries)
    return built


def _build_target(kind: Kind, query: Query, ref: str) -> dict[str, Any]:
    target: dict[str, Any] = {
        "refId": ref,
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "range": kind is not Kind.TABLE,
    }
    if kind is Kind.TABLE:
        return {**target, "instant": True, "format": "table"}
    return {**target, "format": "heatmap"} if kind is Kind.HEATMAP else target


def _build_field(panel: Panel) -> dict[str, Any]:
    field: dict[str, Any] = {"unit": str(panel.unit)}
    if panel.steps:
        field["color"] = {"mode": "thresholds"} if panel.kind is Kind.STAT else _PALETTE
        field["thresholds"] = {"mode": "absolute", "steps": [_build_step(s) for s in panel.steps]}
    elif panel.kind is Kind.STAT:
        # Grafana's own default turns red at 80, whatever is counted.
        field["thresholds"] = {"mode": "absolute", "steps": [{"value": None, "color": "text"}]}
    if panel.words:
        options = {
            str(value): {"text": text, "color": str(colour), "index": index}
            for index, (value, text, colour) in enumerate(panel.words)
        }
        field["mappings"] = [{"type": "value", "options": options}]
    if panel.kind is Kind.LINES:
        field["min"] = 0
        field["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    return field


def _build_options(panel: Panel) -> dict[str, Any]:
    options = _OPTIONS[panel.kind]
    if panel.kind is Kind.STAT and not panel.steps:
        return {**options, "colorMode": "none"}
    if panel.kind is Kind.HEATMAP:
        return {**options, "cellValues": {"unit": str(panel.unit)}}
    if panel.kind is Kind.TABLE:
        return {**options, "sortBy": [{"displayName": panel.queries[0].legend, "desc": True}]}
    return options


_PALETTE = {"mode": "palette-classic"}


def _build_step(step: Step) -> dict[str, Any]:
    return {"value": step.at, "color": str(step.colour)}


def _build_overrides(panel: Panel) -> list[dict[str, Any]]:
    return [
        {
            "matcher": {"id": "byName", "options": column},
            "properties": [{"id": "unit", "value": str(unit)}],
        }
        for column, unit in panel.column_units
    ]


def _merge_columns(queries: tuple[Query, ...]) -> list[dict[str, Any]]:
    """Return how a table puts its queries side by side, each under its legend."""
    single = len(queries) == 1
    names = {
        "Value" if single else f"Value #{chr(ord('A') + at)}": query.legend
        for at, query in enumerate(queries)
    }
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}},
    ]


_OPTIONS: dict[Kind, dict[str, Any]] = {
    Kind.LINES: {
        "legend": {
            "showLegend": True,
            "displayMode": "table",
            "placement": "bottom",
            "calcs": ["lastNotNull", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    Kind.STAT: {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background",
        "graphMode": "area",
        "textMode": "value",
    },
    Kind.TABLE: {"showHeader": True, "cellHeight": "sm"},
    Kind.HEATMAP: {
        "calculate": False,
        "yAxis": {"unit": "s"},
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": True},
    },
}
