"""A pod's spec as what to run: argv, environment, probes. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class ImageMissingError(Exception):
    """The image has no program on this node, and the container names none."""


class ConfigMissingError(Exception):
    """A Secret or ConfigMap, or a key of one, that the container needs is not there."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a container."""

    kind: str
    """``httpGet``, ``tcpSocket`` or ``exec``."""
    target: Mapping[str, Any]
    delay_s: float
    period_s: float
    timeout_s: float
    successes: int
    failures: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """The Secrets and ConfigMaps of the pod's namespace that it refers to, decoded."""

    secrets: Mapping[str, Mapping[str, str]]
    config_maps: Mapping[str, Mapping[str, str]]


def parse_probe(container: Mapping[str, Any], name: str) -> Probe | None:
    """Return the container's probe *name* (``livenessProbe`` ...), None if it has none."""
    probe = container.get(name)
    if not probe:
        return None
    kind = next((k for k in ("httpGet", "tcpSocket", "exec") if k in probe), None)
    if kind is None:
        return None
    return Probe(
        kind,
        probe[kind],
        delay_s=float(probe.get("initialDelaySeconds", 0)),
        period_s=float(probe.get("periodSeconds", 10)),
        timeout_s=float(probe.get("timeoutSeconds", 1)),
        successes=int(probe.get("successThreshold", 1)),
        failures=int(probe.get("failureThreshold", 3)),
    )


def expand(text: str, env: Mapping[str, str]) -> str:
    """Return *text* with ``$(NAME)`` replaced; ``$$`` is a dollar, unknown names stay."""

    def replace(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return env.get(match.group(1), match.group(0))

    return _REFERENCE.sub(replace, text)


def referenced_names(pod: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return the names of Secrets and ConfigMaps that the pod's environment refers to."""
    secrets: set[str] = set()
    config_maps: set[str] = set()
    for container in all_containers(pod):
        for item in container.get("env") or []:
            source = item.get("valueFrom") or {}
            if "secretKeyRef" in source:
                secrets.add(source["secretKeyRef"]["name"])
            if "configMapKeyRef" in source:
                config_maps.add(source["configMapKeyRef"]["name"])
        for item in container.get("envFrom") or []:
            if "secretRef" in item:
                secrets.add(item["secretRef"]["name"])
            if "configMapRef" in item:
                config_maps.add(item["configMapRef"]["name"])
    return secrets, config_maps


def all_containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return init containers and containers, in the order they start."""
    spec = pod["spec"]
    return [*(spec.get("initContainers") or []), *spec["containers"]]


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Return whether an init container is a native sidecar."""
    return container.get("restartPolicy") == "Always"


def build_env(
    container: Mapping[str, Any], pod: Mapping[str, Any], pod_ip: str, lookup: Lookup
) -> dict[str, str]:
    """Return the container's own environment; raises ConfigMissingError."""
    env: dict[str, str] = {}
    for item in container.get("envFrom") or []:
        prefix = item.get("prefix", "")
        for name, source in (("secretRef", lookup.secrets), ("configMapRef", lookup.config_maps)):
            if name in item:
                found = source.get(item[name]["name"])
                if found is None and not item[name].get("optional"):
                    raise ConfigMissingError(f"{name} {item[name]['name']} not found")
                env.update({prefix + key: value for key, value in (found or {}).items()})
    for item in container.get("env") or []:
        value = _env_value(item, pod, pod_ip, lookup)
        if value is not None:
            env[item["name"]] = expand(value, env)
    return env


def _env_value(
    item: Mapping[str, Any], pod: Mapping[str, Any], pod_ip: str, lookup: Lookup
) -> str | None:
    source = item.get("valueFrom")
    if not source:
        return str(item.get("value", ""))
    if "fieldRef" in source:
        return read_field(pod, source["fieldRef"]["fieldPath"], pod_ip)
    for kind, objects in (
        ("secretKeyRef", lookup.secrets),
        ("configMapKeyRef", lookup.config_maps),
    ):
        if kind in source:
            ref = source[kind]
            value = objects.get(ref["name"], {}).get(ref["key"])
            if value is None and not ref.get("optional"):
                raise ConfigMissingError(f"{kind} {ref['name']}: key {ref['key']} not found")
            return value
    return None


def read_field(pod: Mapping[str, Any], path: str, pod_ip: str) -> str:
    """Return the downward API's value of a field path; empty for one that is not known here."""
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match:
        return str((pod["metadata"].get(match.group(1)) or {}).get(match.group(2), ""))
    known = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.podIP": pod_ip,
        "status.hostIP": "127.0.0.1",
    }
    return str(known.get(path, ""))


def build_argv(
    container: Mapping[str, Any], env: Mapping[str, str], images: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the program to run: the container's command, or what stands for its image.

    Raises ImageMissingError.
    """
    command = list(container.get("command") or images.get(container.get("image", ""), []))
    if not command:
        raise ImageMissingError(f"image {container.get('image')} has no program on this node")
    return [expand(str(part), env) for part in [*command, *(container.get("args") or [])]]
