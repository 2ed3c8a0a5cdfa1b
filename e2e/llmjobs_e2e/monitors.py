"""What Prometheus operator makes of the chart's monitors, for a Prometheus outside of the cluster.

Pure: ServiceMonitors and PodMonitors in, scrape configurations out. It reads of them what the chart
writes, and refuses the rest, so that nothing in a monitor is passed over in silence. The fields:
https://prometheus-operator.dev/docs/api-reference/api/
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_NOT_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_ENDPOINT_FIELDS = {
    "port", "path", "interval", "scrapeTimeout", "relabelings", "metricRelabelings",
}  # fmt: skip
_SPEC_FIELDS = {"selector", "namespaceSelector", "endpoints", "podMetricsEndpoints"}
_ENDED = "(Succeeded|Failed)"
"""Phases of pods that nobody can ask any more."""


class UnknownFieldError(ValueError):
    """A monitor says something that is not translated here."""


def build_scrapes(
    monitors: Sequence[Mapping[str, Any]], *, kubeconfig: Path, interval: str
) -> list[dict[str, Any]]:
    """Return a scrape configuration for each endpoint of each monitor.

    *kubeconfig* is how Prometheus asks the API server; *interval* (``1s``) replaces the monitors'
    own, which fit a cluster that runs for longer than a test. Raises UnknownFieldError.
    """
    return [
        _build_scrape(monitor, number, endpoint, kubeconfig=kubeconfig, interval=interval)
        for monitor in monitors
        for number, endpoint in enumerate(_list_endpoints(monitor["spec"]))
    ]


def _list_endpoints(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    _refuse_unknown(spec, _SPEC_FIELDS)
    endpoints = [*spec.get("endpoints", ()), *spec.get("podMetricsEndpoints", ())]
    for endpoint in endpoints:
        _refuse_unknown(endpoint, _ENDPOINT_FIELDS)
    return endpoints


def _build_scrape(
    monitor: Mapping[str, Any],
    number: int,
    endpoint: Mapping[str, Any],
    *,
    kubeconfig: Path,
    interval: str,
) -> dict[str, Any]:
    of_pods = monitor["kind"] == "PodMonitor"
    namespace, name = monitor["metadata"]["namespace"], monitor["metadata"]["name"]
    kind = "podMonitor" if of_pods else "serviceMonitor"
    discovery: dict[str, Any] = {
        "role": "pod" if of_pods else "endpointslice",
        "kubeconfig_file": str(kubeconfig),
    }
    names = _select_namespaces(monitor["spec"].get("namespaceSelector", {}), namespace)
    if names:
        discovery["namespaces"] = {"names": names}
    return {
        "job_name": f"{kind}/{namespace}/{name}/{number}",
        "scrape_interval": interval,
        "scrape_timeout": interval,
        "metrics_path": endpoint.get("path", "/metrics"),
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": [
            *_select_targets(monitor["spec"]["selector"], "pod" if of_pods else "service"),
            *(_find_pods(endpoint["port"]) if of_pods else _find_endpoints(endpoint["port"])),
            *_name_targets(f"{namespace}/{name}", endpoint["port"], of_pods=of_pods),
            *map(_translate, endpoint.get("relabelings", ())),
        ],
        "metric_relabel_configs": [*map(_translate, endpoint.get("metricRelabelings", ()))],
    }


def _select_namespaces(selector: Mapping[str, Any], own: str) -> list[str]:
    """Return the namespaces to look in; none is all."""
    _refuse_unknown(selector, {"any", "matchNames"})
    if selector.get("any"):
        return []
    return list(selector.get("matchNames") or [own])


def _select_targets(selector: Mapping[str, Any], of: str) -> Iterator[dict[str, Any]]:
    _refuse_unknown(selector, {"matchLabels", "matchExpressions"})
    meta = f"__meta_kubernetes_{of}"
    for label, value in selector.get("matchLabels", {}).items():
        yield _keep(re.escape(value), f"{meta}_label_{_clean(label)}")
    for expression in selector.get("matchExpressions", ()):
        if expression["operator"] != "Exists":
            raise UnknownFieldError(f"the selector's operator {expression['operator']}")
        yield _keep("true", f"{meta}_labelpresent_{_clean(expression['key'])}")


def _find_pods(port: str) -> list[dict[str, Any]]:
    ended = {
        "source_labels": ["__meta_kubernetes_pod_phase"],
        "regex": _ENDED,
        "action": "drop",
    }
    return [ended, _keep(port, "__meta_kubernetes_pod_container_port_name")]


def _find_endpoints(port: str) -> list[dict[str, Any]]:
    return [_keep(port, "__meta_kubernetes_endpointslice_port_name")]


def _name_targets(monitor: str, port: str, *, of_pods: bool) -> list[dict[str, Any]]:
    """Return what gives each target the labels that queries rely on."""
    found = {
        "namespace": "__meta_kubernetes_namespace",
        "pod": "__meta_kubernetes_pod_name",
        "container": "__meta_kubernetes_pod_container_name",
    }
    if not of_pods:
        found |= {"job": "__meta_kubernetes_service_name"}
    given = {"endpoint": port} | ({"job": monitor} if of_pods else {})
    return [
        *({"source_labels": [source], "target_label": label} for label, source in found.items()),
        *({"target_label": label, "replacement": value} for label, value in given.items()),
    ]


def _translate(relabeling: Mapping[str, Any]) -> dict[str, Any]:
    """Return a relabeling as Prometheus spells it: ``source_labels`` for ``sourceLabels``."""
    return {
        re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", field): value
        for field, value in relabeling.items()
    }


def _keep(value: str, label: str) -> dict[str, Any]:
    return {"source_labels": [label], "regex": value, "action": "keep"}


def _clean(label: str) -> str:
    """Return a label's name as service discovery writes it."""
    return _NOT_LABEL.sub("_", label)


def _refuse_unknown(found: Mapping[str, Any], known: set[str]) -> None:
    unknown = set(found) - known
    if unknown:
        raise UnknownFieldError(f"a monitor's {', '.join(sorted(unknown))}")
