"""The charts as the pinned Helms render them. Runs a local program, and no network."""

import functools
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
HELM = ROOT / ".tools" / "helm"
HELMS = ("helm-4.2", "helm-3.17")
NAMESPACE = "llmjobs-system"
STORE: dict[str, Any] = {"redis": {"external": {"existingSecret": "store"}}}
MONITORING = (
    "monitoring.coreos.com/v1/ServiceMonitor",
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
)
"""What a cluster with Prometheus operator has."""
ROUTES = ("gateway.networking.k8s.io/v1/HTTPRoute",)
"""What a cluster with the Gateway API has."""

Manifest = dict[str, Any]


class HelmRefused(AssertionError):
    """Helm did not render; the text is what it said."""


def merge(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values laid over each other, as Helm does."""
    merged: dict[str, Any] = {}
    for layer in values:
        for name, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
            merged[name] = merge(merged[name], value) if both else value
    return merged


def render(
    *values: Mapping[str, Any],
    chart: str = "llmjobs",
    apis: Sequence[str] = (),
    helm: str = HELMS[0],
    release: str = "llmjobs",
) -> list[Manifest]:
    """Return the chart's objects, those of `helm test` included; raises HelmRefused."""
    text = _render(helm, chart, release, json.dumps(merge(*values)), tuple(apis))
    found: list[Manifest] = json.loads(text)
    return found


@functools.cache
def _render(helm: str, chart: str, release: str, values: str, apis: tuple[str, ...]) -> str:
    """Return the objects as JSON, which is read again faster than YAML."""
    text = _template(helm, chart, release, values, apis)
    # Some of Helm's YAML is large, and PyYAML's own parser is slow.
    documents = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return json.dumps([document for document in documents if document])


def _template(helm: str, chart: str, release: str, values: str, apis: tuple[str, ...]) -> str:
    command = [
        str(HELM / helm), "template", release, str(ROOT / "charts" / chart),
        "--namespace", NAMESPACE, "--kube-version", "1.30.0", "--values", "-",
    ]  # fmt: skip
    for api in apis:
        command += ["--api-versions", api]
    done = subprocess.run(
        command, input=values, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise HelmRefused(done.stderr)
    return done.stdout


def find(objects: Sequence[Manifest], kind: str, name: str) -> Manifest:
    """Return one object; AssertionError names those that are there."""
    names = [item["metadata"]["name"] for item in objects if item["kind"] == kind]
    assert name in names, f"no {kind} {name}, only {names}"
    return next(i for i in objects if (i["kind"], i["metadata"]["name"]) == (kind, name))


def names_of(objects: Sequence[Manifest], kind: str) -> list[str]:
    """Return the names of the objects of a kind."""
    return sorted(item["metadata"]["name"] for item in objects if item["kind"] == kind)


def pod_specs(objects: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield name and spec of everything that makes pods."""
    for item in objects:
        name = f"{item['kind']} {item['metadata']['name']}"
        if item["kind"] == "Pod":
            yield name, item["spec"]
        elif item["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield name, item["spec"]["template"]["spec"]


def containers(objects: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield name and container of every pod."""
    for name, spec in pod_specs(objects):
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{name}/{container['name']}", container


def rules(objects: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield name and rule of every role."""
    for item in objects:
        if item["kind"] in {"Role", "ClusterRole"}:
            for rule in item["rules"]:
                yield f"{item['kind']} {item['metadata']['name']}", rule
