"""The list of metrics is the code's, and holds what Prometheus's own conventions ask for."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from llmjobs_monitoring.inventory import Metric, Source, list_metrics
from llmjobs_operator.metrics import OperatorMetrics
from llmjobs_testing.vllm_page import RECORDED

OURS = [metric for metric in list_metrics() if metric.source is not Source.VLLM]
VLLM = [metric for metric in list_metrics() if metric.source is Source.VLLM]


def identify(metric: Metric) -> str:
    return f"{metric.source}-{metric.name}"


@pytest.mark.parametrize("metric", OURS, ids=identify)
def test_every_metric_has_our_prefix_and_a_meaning(metric: Metric) -> None:
    assert metric.name.startswith("llmjobs_")
    assert metric.text
    assert metric.name.endswith("_total") == (metric.type == "counter")


@pytest.mark.parametrize("metric", OURS, ids=identify)
def test_no_label_can_grow_without_bound(metric: Metric) -> None:
    bounded = {
        "pool", "class", "state", "reason", "outcome", "type", "mode", "result", "route", "method",
        "status", "kind", "error", "direction", "role", "version",
    }  # fmt: skip
    assert set(metric.labels) <= bounded


@pytest.mark.parametrize("metric", VLLM, ids=identify)
def test_a_real_vllm_serves_it_with_these_labels(metric: Metric) -> None:
    families = text_string_to_metric_families(RECORDED.read_text())
    samples = [one for family in families for one in family.samples if one.name in metric.series]
    assert {one.name for one in samples} == metric.series
    assert {label for one in samples for label in one.labels} - {"le"} == set(metric.labels)


def test_every_role_says_which_version_it_is() -> None:
    said = {metric.source for metric in OURS if metric.name == "llmjobs_build_info"}
    assert said == {Source.EXPORTER, Source.GATEWAY, Source.OPERATOR, Source.WORKER}


def read_replicas(metrics: OperatorMetrics) -> list[float]:
    text = generate_latest(metrics.registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return [sample.value for sample in families["llmjobs_pool_replicas"].samples]


def test_an_operator_tells_of_replicas_while_it_leads_only() -> None:
    metrics = OperatorMetrics(CollectorRegistry())
    metrics.pool_replicas.labels("team-a/small", "desired").set(3)
    standing_by = read_replicas(metrics)
    metrics.leading.set(1)
    assert (standing_by, read_replicas(metrics)) == ([], [3.0])
