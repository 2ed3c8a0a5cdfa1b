"""Pools and jobs of the scenarios, as Helm and the API server are given them."""

from collections.abc import Mapping
from typing import Any

from llmjobs_e2e.builder import ROOT
from llmjobs_e2e.target import HELM4, Target

MODEL = "scripted"
CHART = ROOT / "charts" / "llmjobs-pool"
ENGINE_PORT = 8000


def build_scripted(
    target: Target,
    *,
    replicas: int = 1,
    most: int = 4,
    concurrency: int = 32,
    models: tuple[str, ...] = (MODEL,),
    engine: Mapping[str, Any] | None = None,
    scaling: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return charts/llmjobs-pool's values of a pool with the scripted engine.

    *engine* and *scaling* are laid over their parts.
    """
    return {
        "spec": {
            "models": list(models),
            "engine": {
                "container": {
                    "image": target.images.engine,
                    "args": ["--host=$(POD_IP)", f"--port={ENGINE_PORT}"],
                    "port": ENGINE_PORT,
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                    **(engine or {}),
                }
            },
            "worker": {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}},
            "concurrency": concurrency,
            "scaling": {
                "minReplicas": replicas,
                "maxReplicas": max(replicas, most),
                "targetPerReplica": 10_000,
                **(scaling or {}),
            },
        },
        "modelCache": {"type": "none"},
    }


def install_pool(
    target: Target, name: str, namespace: str, values: Mapping[str, Any], *, ready: bool = True
) -> None:
    """Install or upgrade a pool; returns when its workers are ready, if asked to."""
    target.helm(
        "upgrade", "--install", name, str(CHART), namespace=namespace, values=values, helm=HELM4
    )
    if ready:
        replicas = values["spec"]["scaling"]["minReplicas"]
        wait_for_replicas(target, name, namespace, replicas)


def wait_for_replicas(target: Target, name: str, namespace: str, count: int) -> None:
    """Return when the pool tells of so many ready replicas."""
    target.kubectl(
        "-n", namespace, "wait", f"lwp/{name}", "--timeout=90s",
        f"--for=jsonpath={{.status.readyReplicas}}={count}",
    )  # fmt: skip


def delete_pool(target: Target, name: str, namespace: str) -> None:
    """Uninstall a pool; returns when its pods are gone."""
    target.helm("uninstall", name, "--wait", namespace=namespace)
    target.kubectl(
        "-n", namespace, "wait", "pod", "-l", f"llmjobs.dev/pool={name}", "--for=delete",
        "--timeout=90s",
    )  # fmt: skip


def build_llmjob(name: str, *, model: str = MODEL, tokens: int = 16, rate: float = 0.0) -> Any:
    """Return an LLMJob for the scripted engine."""
    body = {
        "messages": [{"role": "user", "content": "tell me"}],
        "script": {"tokens": tokens, "rate": rate},
    }
    return {
        "apiVersion": "llmjobs.dev/v1alpha1",
        "kind": "LLMJob",
        "metadata": {"name": name},
        "spec": {"model": model, "request": {"endpoint": "/v1/chat/completions", "body": body}},
    }
