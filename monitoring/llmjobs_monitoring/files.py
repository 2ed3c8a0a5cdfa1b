"""Every file that is made from this package."""

from pathlib import Path

from llmjobs_monitoring.dashboards import DASHBOARDS
from llmjobs_monitoring.grafana import render_dashboard
from llmjobs_monitoring.reference import render_alerts, render_metrics
from llmjobs_monitoring.rules import render_rules

_RULES_HEADER = "# Made from monitoring/llmjobs_monitoring by `make generate`; do not edit.\n"


def build_files(root: Path) -> dict[Path, str]:
    """Return each file below *root* and its content."""
    chart, reference = root / "charts" / "llmjobs", root / "docs" / "reference"
    return {
        **{chart / "dashboards" / f"{d.uid}.json": render_dashboard(d) for d in DASHBOARDS},
        chart / "files" / "alerts.yaml": _RULES_HEADER + render_rules(),
        reference / "metrics.md": render_metrics(),
        reference / "alerts.md": render_alerts(),
    }
