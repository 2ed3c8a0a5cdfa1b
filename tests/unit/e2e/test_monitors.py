"""Monitors become the scrapes that Prometheus operator would make of them."""

from pathlib import Path
from typing import Any

import pytest

from llmjobs_e2e.monitors import UnknownFieldError, build_scrapes

KUBECONFIG = Path("/admin/kubeconfig")


def build_monitor(kind: str = "PodMonitor", **spec: Any) -> dict[str, Any]:
    endpoints = "podMetricsEndpoints" if kind == "PodMonitor" else "endpoints"
    return {
        "kind": kind,
        "metadata": {"name": "parts", "namespace": "system"},
        "spec": {"selector": {}, endpoints: [{"port": "metrics"}]} | spec,
    }


def build(*monitors: dict[str, Any]) -> list[dict[str, Any]]:
    return build_scrapes(list(monitors), kubeconfig=KUBECONFIG, interval="1s")


def list_kept(scrape: dict[str, Any]) -> dict[str, str]:
    """Return which value each label must have."""
    kept = [rule for rule in scrape["relabel_configs"] if rule.get("action") == "keep"]
    return {rule["source_labels"][0]: rule["regex"] for rule in kept}


def list_given(scrape: dict[str, Any]) -> dict[str, Any]:
    """Return where each target's label is from."""
    rules = [rule for rule in scrape["relabel_configs"] if "target_label" in rule]
    return {
        rule["target_label"]: rule.get("replacement") or rule["source_labels"] for rule in rules
    }


def test_every_endpoint_is_a_scrape_with_a_name_of_its_own() -> None:
    endpoints = [{"port": "metrics"}, {"port": "engine"}]
    names = [
        scrape["job_name"]
        for scrape in build(
            build_monitor(podMetricsEndpoints=endpoints), build_monitor("ServiceMonitor")
        )
    ]
    assert names == [
        "podMonitor/system/parts/0",
        "podMonitor/system/parts/1",
        "serviceMonitor/system/parts/0",
    ]


def test_pods_are_found_by_their_labels_and_a_named_port() -> None:
    (scrape,) = build(build_monitor(selector={"matchLabels": {"app.kubernetes.io/name": "x"}}))
    assert scrape["kubernetes_sd_configs"][0]["role"] == "pod"
    assert list_kept(scrape) == {
        "__meta_kubernetes_pod_label_app_kubernetes_io_name": "x",
        "__meta_kubernetes_pod_container_port_name": "metrics",
    }


def test_a_service_is_found_by_its_labels_and_its_endpoints_named_port() -> None:
    (scrape,) = build(build_monitor("ServiceMonitor", selector={"matchLabels": {"app": "x"}}))
    assert scrape["kubernetes_sd_configs"][0]["role"] == "endpointslice"
    assert list_kept(scrape) == {
        "__meta_kubernetes_service_label_app": "x",
        "__meta_kubernetes_endpointslice_port_name": "metrics",
    }


def test_a_label_may_only_have_to_be_there() -> None:
    selector = {"matchExpressions": [{"key": "llmjobs.dev/pool", "operator": "Exists"}]}
    (scrape,) = build(build_monitor(selector=selector))
    assert list_kept(scrape)["__meta_kubernetes_pod_labelpresent_llmjobs_dev_pool"] == "true"


def test_a_pod_that_has_ended_is_not_asked() -> None:
    (scrape,) = build(build_monitor())
    drops = [rule for rule in scrape["relabel_configs"] if rule.get("action") == "drop"]
    assert [rule["source_labels"] for rule in drops] == [["__meta_kubernetes_pod_phase"]]


@pytest.mark.parametrize(
    ("selector", "names"),
    [({}, ["system"]), ({"matchNames": ["a", "b"]}, ["a", "b"]), ({"any": True}, None)],
    ids=["its own", "named ones", "all"],
)
def test_targets_are_looked_for_in_the_namespaces_it_says(
    selector: dict[str, Any], names: list[str] | None
) -> None:
    (scrape,) = build(build_monitor(namespaceSelector=selector))
    discovery = scrape["kubernetes_sd_configs"][0]
    assert discovery.get("namespaces", {}).get("names") == names
    assert discovery["kubeconfig_file"] == str(KUBECONFIG)


def test_targets_get_the_labels_that_queries_rely_on() -> None:
    pods, services = build(build_monitor(), build_monitor("ServiceMonitor"))
    assert set(list_given(pods)) == {"namespace", "pod", "container", "endpoint", "job"}
    assert list_given(pods)["job"] == "system/parts"
    assert list_given(services)["job"] == ["__meta_kubernetes_service_name"]


def test_its_own_relabelings_come_last_and_in_the_spelling_of_prometheus() -> None:
    relabeling = {"sourceLabels": ["a", "b"], "separator": "/", "targetLabel": "pool"}
    endpoint = {"port": "metrics", "relabelings": [relabeling], "metricRelabelings": [relabeling]}
    (scrape,) = build(build_monitor(podMetricsEndpoints=[endpoint]))
    spelled = {"source_labels": ["a", "b"], "separator": "/", "target_label": "pool"}
    assert scrape["relabel_configs"][-1] == spelled
    assert scrape["metric_relabel_configs"] == [spelled]


@pytest.mark.parametrize(
    "spec",
    [
        {"podMetricsEndpoints": [{"port": "metrics", "honorLabels": True}]},
        {"namespaceSelector": {"matchLabels": {}}},
        {"selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}},
        {"sampleLimit": 5},
    ],
)
def test_what_it_does_not_know_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(UnknownFieldError):
        build(build_monitor(**spec))
