"""The ready-made ways to scrape are taken by Prometheus, and give pools their label."""

from pathlib import Path

import yaml

from llmjobs_operator.objects import POOL_LABEL
from llmjobs_testing.prometheus_tools import ROOT, run_promtool

FOLDER = ROOT / "manifests" / "monitoring"
META_LABEL = "__meta_kubernetes_pod_label_" + POOL_LABEL.replace(".", "_").replace("/", "_")
POOL_SOURCES = ["__meta_kubernetes_namespace", META_LABEL]


def test_promtool_takes_the_scrape_configuration(tmp_path: Path) -> None:
    """Debian's build knows no Kubernetes, so the pods are not looked for; the rest is checked."""
    config = yaml.safe_load((FOLDER / "prometheus-scrape.yaml").read_text())
    for job in config["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    path = tmp_path / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    run_promtool("check", "config", str(path))


def test_both_ways_name_a_pool_by_namespace_and_name() -> None:
    plain = yaml.safe_load((FOLDER / "prometheus-scrape.yaml").read_text())
    monitors = yaml.safe_load_all((FOLDER / "monitors.yaml").read_text())
    (monitor,) = (one for one in monitors if one["metadata"]["name"] == "llmjobs-workers")
    rules = [
        (rule["source_labels"], rule["separator"])
        for rule in plain["scrape_configs"][1]["relabel_configs"]
        if rule.get("target_label") == "pool"
    ]
    rules += [
        (rule["sourceLabels"], rule["separator"])
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
        for rule in endpoint["relabelings"]
        if rule["targetLabel"] == "pool"
    ]
    assert rules == [(POOL_SOURCES, "/")] * 3


def test_kustomize_takes_every_file_that_is_for_operators() -> None:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    others = {"kustomization.yaml", "prometheus-scrape.yaml"}
    assert set(listed) == {path.name for path in FOLDER.glob("*.yaml")} - others
