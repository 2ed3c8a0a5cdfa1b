"""The dashboards name what exists, say what they mean, and are what Grafana reads."""

import itertools
import json

import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard

from llmjobs_monitoring.dashboards import DASHBOARDS
from llmjobs_monitoring.grafana import build_dashboard
from llmjobs_monitoring.inventory import list_series
from llmjobs_monitoring.panels import Dashboard, Panel
from llmjobs_monitoring.promql import Scope, WrongQuery
from llmjobs_testing import promql

PROMETHEUS_OWN = {"ALERTS"}

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.uid)
each_panel = pytest.mark.parametrize(
    "panel",
    [panel for one in DASHBOARDS for panel in one.panels],
    ids=[f"{one.uid}-{panel.title}" for one in DASHBOARDS for panel in one.panels],
)


@each_panel
def test_every_expression_is_about_metrics_that_exist(panel: Panel) -> None:
    for query in panel.queries:
        named = promql.list_series(promql.fill_in(query.expr))
        assert named
        assert named <= list_series() | PROMETHEUS_OWN


@each_panel
def test_a_panel_asks_a_question_and_explains_its_answer(panel: Panel) -> None:
    assert panel.title.endswith("?")
    assert panel.description.endswith(".")
    assert all(query.legend for query in panel.queries)


@each_panel
def test_a_legend_names_labels_that_its_expression_keeps(panel: Panel) -> None:
    for query in panel.queries:
        kept = query.expr.replace(" ", "")
        for part in query.legend.split("{{")[1:]:
            label = part.partition("}}")[0]
            assert any(f"{start}{label}{end}" in kept for start in "(," for end in "),")


@each_dashboard
def test_no_two_panels_of_a_dashboard_have_one_title(dashboard: Dashboard) -> None:
    titles = [panel.title for panel in dashboard.panels]
    assert len(set(titles)) == len(titles)


@each_dashboard
def test_panels_do_not_overlap_and_stay_on_the_page(dashboard: Dashboard) -> None:
    places = [panel["gridPos"] for panel in build_dashboard(dashboard)["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in itertools.combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above


@each_dashboard
def test_a_number_without_limits_of_its_own_is_not_coloured(dashboard: Dashboard) -> None:
    """Grafana would turn it red at 80."""
    for panel in build_dashboard(dashboard)["panels"]:
        if panel["type"] == "stat":
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            assert (len(steps) > 1) == (panel["options"]["colorMode"] == "background")


@each_dashboard
def test_every_variable_in_an_expression_is_offered(dashboard: Dashboard) -> None:
    built = build_dashboard(dashboard)
    offered = {variable["name"] for variable in built["templating"]["list"]}
    used = {
        word
        for _, expression in promql.list_expressions(dashboard)
        for word in ("namespace", "pool", "gpu_price")
        if f"${word}" in expression
    }
    assert used | {"datasource"} == offered


@each_dashboard
def test_grafanas_own_model_reads_it_whole(dashboard: Dashboard) -> None:
    """Its SDK, made from Grafana's schema, reads the file and gives the same queries back."""
    built = json.loads(json.dumps(build_dashboard(dashboard)))
    read = json.loads(json.dumps(GrafanaDashboard.from_json(built), default=lambda o: o.to_json()))
    assert set(built) <= set(read)
    for ours, theirs in zip(built["panels"], read["panels"], strict=True):
        assert set(ours) <= set(theirs)
        assert ours.get("targets", []) == [
            {key: target[key] for key in mine}
            for mine, target in zip(ours.get("targets", []), theirs.get("targets", []), strict=True)
        ]


def test_what_every_exporter_tells_is_not_added_up() -> None:
    counted = Scope().rate("llmjobs_jobs_ended_total", by=("state",))
    assert counted == (
        "sum by (state) (max by (pool, class, state, reason) (rate(llmjobs_jobs_ended_total[5m])))"
    )


def test_what_processes_count_is_added_up() -> None:
    assert Scope().now("llmjobs_worker_slots") == "sum (llmjobs_worker_slots)"


@pytest.mark.parametrize("by", ["namespace", "job_id"])
def test_a_query_by_a_label_that_is_not_there_is_refused(by: str) -> None:
    with pytest.raises(WrongQuery, match=by):
        Scope().rate("llmjobs_jobs_ended_total", by=(by,))
