"""What we write for KEDA, Prometheus operator and the Gateway API, held against their own CRDs."""

import json
from pathlib import Path

import pytest
import yaml

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_testing.charts import MONITORING, ROOT, ROUTES, STORE, Manifest, render
from llmjobs_testing.kubectl import Kubectl, KubectlError

KINDS = ROOT / ".tools" / "kinds"
MONITORS = {
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "monitoring"}},
        "podMonitor": {"enabled": True, "engines": True},
        "prometheusRule": {"enabled": True},
    },
    "gateway": {
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "public"}],
            "hostnames": ["jobs.example.com"],
        }
    },
}
EXPECTED = {"HTTPRoute", "PodMonitor", "PrometheusRule", "ServiceMonitor"}


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane) -> Kubectl:
    """kubectl on an API server that serves the other projects' kinds."""
    cluster = Kubectl(plane, "default")
    cluster("apply", "--server-side", "-f", str(KINDS))
    cluster("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    return cluster


def take(cluster: Kubectl, item: Manifest) -> None:
    """Let the API server check one object against its schema; unknown fields are refused."""
    text = json.dumps({**item, "metadata": {**item["metadata"], "namespace": "default"}})
    cluster("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "manifests" / "keda").glob("*.yaml")), ids=lambda file: file.stem
)
def test_keda_takes_its_examples(cluster: Kubectl, file: Path) -> None:
    for item in yaml.safe_load_all(file.read_text()):
        take(cluster, item)


def test_prometheus_operator_and_the_gateway_api_take_what_the_chart_renders(
    cluster: Kubectl,
) -> None:
    rendered = render(STORE, MONITORS, apis=(*MONITORING, *ROUTES))
    foreign = [item for item in rendered if item["kind"] in EXPECTED]
    assert {item["kind"] for item in foreign} == EXPECTED
    for item in foreign:
        take(cluster, item)


def test_a_field_that_keda_does_not_know_would_be_found(cluster: Kubectl) -> None:
    item = yaml.safe_load((ROOT / "manifests" / "keda" / "by-prometheus.yaml").read_text())
    item["spec"]["coolDownPeriod"] = 600
    with pytest.raises(KubectlError, match="coolDownPeriod"):
        take(cluster, item)
