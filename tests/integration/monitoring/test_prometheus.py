"""Dashboards and alerts on a real Prometheus that scraped the running system."""

import re

import pytest

from llmjobs_monitoring.inventory import Source, list_metrics
from llmjobs_monitoring.rules import RUNBOOK_BASE_URL
from llmjobs_testing import promql
from llmjobs_testing.monitored import Seen
from llmjobs_testing.prometheus_tools import ROOT
from llmjobs_testing.servers import ServerThread

PANELS = promql.list_panels()
RUNBOOK_QUERIES = [
    query
    for page in sorted((ROOT / "docs" / "runbooks").glob("*.md"))
    for block in re.findall(r"```promql\n(.+?)\n```", page.read_text(), re.DOTALL)
    for query in block.splitlines()
]


@pytest.mark.parametrize("panel", PANELS)
def test_no_query_of_a_panel_is_empty(panel: str, seen: Seen, server_thread: ServerThread) -> None:
    for expression in PANELS[panel]:
        asked = promql.fill_in(expression, namespace="(chaos)", interval="10s")
        series = server_thread.run(seen.prometheus.query_since_begin(asked))
        assert promql.has_data(series), asked


@pytest.mark.parametrize("query", RUNBOOK_QUERIES)
def test_prometheus_runs_every_query_of_the_runbooks(
    query: str, seen: Seen, server_thread: ServerThread
) -> None:
    server_thread.run(seen.prometheus.query(query))


@pytest.mark.parametrize(
    ("alert", "page", "says"),
    [
        ("NoWorkersForBacklog", "no-workers-for-backlog", "Requests wait in chaos/scripted"),
        ("OldestJobTooOld", "oldest-job-too-old", "A job of chaos/scripted has waited"),
        ("BrokerDown", "broker-down", "Redis can't be read by any exporter."),
    ],
)
def test_an_alert_fires_on_the_real_thing(alert: str, page: str, says: str, seen: Seen) -> None:
    annotations = seen.fired[f"LLMJobs{alert}"]
    assert annotations["summary"].startswith(says)
    assert annotations["runbook_url"] == f"{RUNBOOK_BASE_URL}/{page}.md"


def test_every_metric_in_the_reference_is_served(seen: Seen, server_thread: ServerThread) -> None:
    scraped = server_thread.run(seen.prometheus.fetch_names())
    missing = {
        metric.name
        for metric in list_metrics()
        if metric.source is not Source.VLLM and not metric.series <= scraped
    }
    assert missing == set()


def test_every_metric_that_is_served_is_in_the_reference(
    seen: Seen, server_thread: ServerThread
) -> None:
    scraped = server_thread.run(seen.prometheus.fetch_names())
    known = {name for metric in list_metrics() for name in metric.series}
    ours = {name for name in scraped if name.startswith("llmjobs_")}
    assert {name for name in ours - known if not name.endswith("_created")} == set()
