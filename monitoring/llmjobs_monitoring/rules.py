"""Alerts as a plain Prometheus rule file; the chart wraps it as a PrometheusRule."""

from typing import Any

import yaml

from llmjobs_monitoring.alerts import ALERTS, Alert, Times

RUNBOOK_BASE_URL = "https://llmjobs.dev/docs/runbooks"
"""Where docs/runbooks is published; the chart puts another in its place where one is set."""
GROUP = "llmjobs"


def build_rules(times: Times | None = None) -> dict[str, Any]:
    """Return the rule file; *times* may shorten every window, threshold and ``for``."""
    used = times or Times()
    return {"groups": [{"name": GROUP, "rules": [_build_rule(one, used) for one in ALERTS]}]}


def _build_rule(alert: Alert, times: Times) -> dict[str, Any]:
    return {
        "alert": alert.full_name,
        "expr": alert.build(times),
        "for": times.span(alert.for_minutes),
        "labels": {"severity": str(alert.severity)},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{RUNBOOK_BASE_URL}/{alert.page}.md",
        },
    }


def render_rules(times: Times | None = None) -> str:
    """Return the rule file as YAML."""
    text: str = yaml.safe_dump(build_rules(times), sort_keys=False, width=100)
    return text
