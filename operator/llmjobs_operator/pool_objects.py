"""The Deployment that a pool should have: pure, the same pool always gives the same object.

The engine is a native sidecar: it starts before the worker and ends after it, so that a worker can
drain while its engine still runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmjobs_core.names import PoolKey
from llmjobs_core.resources import LLMWorkerPool
from llmjobs_core.resources.pool import ContainerEngine, ExternalEngine, VLLMEngine
from llmjobs_operator.objects import API_VERSION, MANAGED_BY, POOL_LABEL

WORKER_PORT = 9090
GRACE_S = 30
_VLLM_PORT = 8000
_PROBE_PERIOD_S = 2


@dataclass(frozen=True, slots=True)
class WorkerDefaults:
    """What the operator's settings say of workers."""

    image: str
    redis_url: str
    """Empty when a Secret is named."""
    redis_secret: str
    redis_secret_key: str
    prefix: str
    log_format: str


def deployment_name(pool: str) -> str:
    """Return the name of a pool's Deployment."""
    return f"{pool}-workers"


def pool_labels(pool: str) -> dict[str, str]:
    """Return the labels that select a pool's pods."""
    return {POOL_LABEL: pool}


def selector_text(pool: str) -> str:
    """Return the same selection as text, for the scale subresource."""
    return f"{POOL_LABEL}={pool}"


def build_deployment(
    pool: LLMWorkerPool, defaults: WorkerDefaults, *, replicas: int
) -> dict[str, Any]:
    """Return the whole Deployment as it should be applied."""
    meta, labels = pool.metadata, pool_labels(pool.metadata.name)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(meta.name),
            "namespace": meta.namespace,
            "labels": {**labels, **MANAGED_BY},
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "LLMWorkerPool",
                    "name": meta.name,
                    "uid": meta.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
            },
            "template": overlay(_build_template(pool, defaults, labels), pool.spec.template),
        },
    }


def _build_template(
    pool: LLMWorkerPool, defaults: WorkerDefaults, labels: Mapping[str, str]
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_build_worker(pool, defaults)],
    }
    engine = pool.spec.engine
    if engine.vllm is not None:
        spec["initContainers"] = [_build_vllm(engine.vllm)]
    elif engine.container is not None:
        spec["initContainers"] = [_build_container(engine.container)]
    return {"metadata": {"labels": {**labels, **MANAGED_BY}}, "spec": spec}


def _restricted(*, read_only: bool) -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": read_only,
        "capabilities": {"drop": ["ALL"]},
    }


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _secret(name: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _build_worker(pool: LLMWorkerPool, defaults: WorkerDefaults) -> dict[str, Any]:
    spec = pool.spec
    key = PoolKey(pool.metadata.namespace, pool.metadata.name)
    values = {
        "LLMJOBS_POOL": str(key),
        "LLMJOBS_PREFIX": defaults.prefix,
        "LLMJOBS_CONCURRENCY": str(spec.concurrency),
        "LLMJOBS_RETRY_BASE_MS": str(spec.retry.base_milliseconds),
        "LLMJOBS_RETRY_CAP_S": str(spec.retry.cap_seconds),
        "LLMJOBS_METRICS_PORT": str(WORKER_PORT),
        "LLMJOBS_DRAIN_BUDGET_S": str(GRACE_S - 5),
        "LLMJOBS_LOG_FORMAT": defaults.log_format,
        **_engine_values(spec.engine.container, spec.engine.external),
    }
    env = [_field("POD_IP", "status.podIP"), _field("POD_NAME", "metadata.name")]
    if defaults.redis_secret:
        name, secret_key = defaults.redis_secret, defaults.redis_secret_key
        env.append(_secret("LLMJOBS_REDIS_URL", name, secret_key))
    else:
        values["LLMJOBS_REDIS_URL"] = defaults.redis_url
    external = spec.engine.external
    if external is not None and external.api_key_secret_ref is not None:
        ref = external.api_key_secret_ref
        env.append(_secret("LLMJOBS_ENGINE_API_KEY", ref.name, ref.key))
    env += [{"name": name, "value": value} for name, value in values.items()]
    named = {item["name"] for item in spec.worker.env}
    return {
        "name": "worker",
        "image": spec.worker.image or defaults.image,
        "env": [item for item in env if item["name"] not in named] + list(spec.worker.env),
        "ports": [{"name": "metrics", "containerPort": WORKER_PORT}],
        "resources": dict(spec.worker.resources),
        "securityContext": _restricted(read_only=True),
        "readinessProbe": _http_probe("/readyz", WORKER_PORT, failures=3),
        "livenessProbe": {**_http_probe("/healthz", WORKER_PORT, failures=6), "periodSeconds": 10},
    }


def _engine_values(
    container: ContainerEngine | None, external: ExternalEngine | None
) -> dict[str, str]:
    if external is not None:
        return {
            "LLMJOBS_ENGINE_URL": external.base_url,
            "LLMJOBS_HEALTH_PATH": external.health_path or "",
        }
    port, path = _VLLM_PORT, "/health"
    if container is not None:
        port, path = container.port, container.health_path
    return {"LLMJOBS_ENGINE_URL": f"http://$(POD_IP):{port}", "LLMJOBS_HEALTH_PATH": path}


def _http_probe(path: str, port: int, *, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": _PROBE_PERIOD_S,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _build_vllm(engine: VLLMEngine) -> dict[str, Any]:
    return {
        "name": "engine",
        "image": engine.image,
        "restartPolicy": "Always",
        "args": ["--model", engine.model, "--port", str(_VLLM_PORT), *engine.args],
        "env": [_field("POD_IP", "status.podIP"), *engine.env],
        "ports": [{"name": "engine", "containerPort": _VLLM_PORT}],
        "resources": dict(engine.resources),
        "securityContext": _restricted(read_only=False),
        "startupProbe": _startup("/health", _VLLM_PORT, engine.startup_seconds),
    }


def _build_container(engine: ContainerEngine) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "engine",
        "image": engine.image,
        "restartPolicy": "Always",
        "args": list(engine.args),
        "env": [_field("POD_IP", "status.podIP"), *engine.env],
        "ports": [{"name": "engine", "containerPort": engine.port}],
        "resources": dict(engine.resources),
        "securityContext": _restricted(read_only=False),
        "startupProbe": _startup(engine.health_path, engine.port, engine.startup_seconds),
    }
    if engine.command:
        container["command"] = list(engine.command)
    return container


def _startup(path: str, port: int, seconds: int) -> dict[str, Any]:
    return {
        **_http_probe(path, port, failures=max(1, seconds)),
        "periodSeconds": 1,
    }


def count_gpus(deployment: Mapping[str, Any]) -> int:
    """Return how many GPUs one replica asks for, whoever makes them.

    Counts limits of extended resources that name GPUs or slices of them: ``nvidia.com/gpu``,
    ``nvidia.com/mig-1g.5gb``, ``amd.com/gpu``, ``gpu.intel.com/i915``. What can't be read counts 0.
    """
    spec = deployment["spec"]["template"]["spec"]
    limits = [
        container.get("resources", {}).get("limits", {})
        for container in [*spec.get("containers", []), *spec.get("initContainers", [])]
    ]
    amounts = [
        str(amount)
        for one in limits
        for name, amount in one.items()
        if "/" in name and ("gpu" in name or "/mig-" in name)
    ]
    return sum(int(amount) for amount in amounts if amount.isdecimal())


def overlay(base: Any, patch: Any) -> Any:
    """Return *patch* laid over *base*: objects merged, named lists by name, the rest replaced."""
    if isinstance(base, dict) and isinstance(patch, Mapping):
        merged = dict(base)
        for name, value in patch.items():
            merged[name] = overlay(base[name], value) if name in base else value
        return merged
    if isinstance(base, list) and isinstance(patch, list) and _all_named([*base, *patch]):
        changes = {item["name"]: item for item in patch}
        merged_list = [overlay(item, changes.pop(item["name"], {})) for item in base]
        return merged_list + list(changes.values())
    return patch


def _all_named(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, Mapping) and "name" in item for item in items)
