"""Every alert has a page, and the page's commands are about things that exist."""

import re

import pytest

from llmjobs_monitoring.alerts import ALERTS, Alert
from llmjobs_monitoring.inventory import list_series
from llmjobs_testing import promql
from llmjobs_testing.prometheus_tools import ROOT

PAGES = ROOT / "docs" / "runbooks"
SECTIONS = ["What it means", "Look first", "What to do", "It is over when"]

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda one: one.page)


def read(alert: Alert) -> str:
    return (PAGES / f"{alert.page}.md").read_text()


@each_alert
def test_a_page_says_what_to_look_at_what_to_do_and_when_it_is_over(alert: Alert) -> None:
    text = read(alert)
    assert text.startswith(f"# {alert.full_name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS


@each_alert
def test_queries_on_a_page_are_about_metrics_that_exist(alert: Alert) -> None:
    queries = re.findall(r"```promql\n(.+?)\n```", read(alert), re.DOTALL)
    assert queries
    for query in "\n".join(queries).splitlines():
        assert promql.list_series(promql.fill_in(query)) <= list_series()


def test_no_page_is_left_over() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert pages == {alert.page for alert in ALERTS}


@each_alert
def test_commands_on_a_page_use_what_the_introduction_sets(alert: Alert) -> None:
    told = set(re.findall(r"\b([A-Z_]+)=", (PAGES / "README.md").read_text()))
    assert set(re.findall(r"\$([A-Z_]+)", read(alert))) <= told
