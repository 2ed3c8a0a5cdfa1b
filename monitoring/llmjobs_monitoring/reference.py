"""The pages of the reference: every metric, every alert."""

from llmjobs_monitoring.alerts import ALERTS, HERE, Times
from llmjobs_monitoring.inventory import Metric, Source, list_metrics

_METRICS_INTRO = """# Metrics

Every metric that llmjobs serves, and those of vLLM that the dashboards read. Made from the code by
`make generate`. How to scrape them: [monitoring](../monitoring.md).

- `pool` is `namespace/name`. No label holds a job, a user or anything else without bound.
- Metrics of the exporter are the store's truth, the same from every exporter: reduce replicas with
  `max by (...)` before adding up. While Redis can't be read only `llmjobs_store_up` and
  `llmjobs_build_info` are there: unknown is not zero.
- Counters of the store survive restarts of everything but Redis without its data.
- A histogram `x` has the series `x_bucket`, `x_sum` and `x_count`.
"""
_SOURCES = {
    Source.EXPORTER: "The store's truth: jobs, pools and their history.",
    Source.GATEWAY: "What one gateway process counts.",
    Source.OPERATOR: "What one operator counts; a pool's replicas are told by the one that leads.",
    Source.WORKER: "What one worker counts. The scrape adds `pool` to its target.",
    Source.VLLM: "vLLM's own, of one engine. The scrape adds `pool` to its target.",
}


def render_metrics() -> str:
    """Return docs/reference/metrics.md."""
    parts = [_METRICS_INTRO]
    for source, intro in _SOURCES.items():
        lines = [f"## {source.capitalize() if source is not Source.VLLM else 'vLLM'}", "", intro]
        lines += ["", "| name | type | labels | meaning |", "|---|---|---|---|"]
        lines += [_render_metric(metric) for metric in list_metrics() if metric.source is source]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _render_metric(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.type} | {labels} | {metric.text} |"


_ALERTS_INTRO = """# Alerts

Made from `monitoring/llmjobs_monitoring/alerts.py` by `make generate`, as is the rule file
`charts/llmjobs/files/alerts.yaml`. Each name links to its runbook.

| alert | severity | for | says |
|---|---|---|---|
"""


def render_alerts() -> str:
    """Return docs/reference/alerts.md."""
    times = Times()
    lines = [
        f"| [{alert.full_name}](../runbooks/{alert.page}.md) | {alert.severity} "
        f"| {times.span(alert.for_minutes)} | {alert.summary.replace(HERE, '')} |"
        for alert in ALERTS
    ]
    expressions = [
        f"\n## {alert.full_name}\n\n{alert.description}\n\n```promql\n{alert.build(times)}\n```"
        for alert in ALERTS
    ]
    return _ALERTS_INTRO + "\n".join(lines + expressions) + "\n"
