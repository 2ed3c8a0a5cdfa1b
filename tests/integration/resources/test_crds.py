"""The custom resource definitions on a real API server: schema, rules, columns, subresources."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_testing.kubectl import ROOT, Kubectl, KubectlError

EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*.yaml"))


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    Kubectl(control_plane).install_crds()
    Kubectl(control_plane)("create", "namespace", "crds")
    return Kubectl(control_plane, "crds")


def job(name: str = "a", **spec: Any) -> dict[str, Any]:
    base = {"model": "m", "request": {"endpoint": "/v1/completions", "body": {"prompt": "x"}}}
    return {
        "apiVersion": "llmjobs.dev/v1alpha1",
        "kind": "LLMJob",
        "metadata": {"name": name},
        "spec": {**base, **spec},
    }


def pool(name: str = "p", **spec: Any) -> dict[str, Any]:
    base = {"models": ["m"], "engine": {"external": {"baseURL": "http://x"}}}
    return {
        "apiVersion": "llmjobs.dev/v1alpha1",
        "kind": "LLMWorkerPool",
        "metadata": {"name": name},
        "spec": {**base, **spec},
    }


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_example_is_accepted(kubectl: Kubectl, example: Path) -> None:
    kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(example))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (job(batch={"inline": "x"}), "exactly one of request and batch"),
        (job(request=None), "exactly one of request and batch"),
        (job(model=None), "model is needed"),
        (job(request=None, batch={}), "exactly one of inline"),
        (job(backoffLimit=101), "backoffLimit"),
        (job(**{"class": "urgent"}), "Unsupported value"),
        (job(name="n" * 64), "at most 63 characters"),
        (pool(engine={}), "exactly one of vllm"),
        (pool(scaling={"minReplicas": 2, "maxReplicas": 1}), "minReplicas must not be above"),
        (pool(models=[]), "models"),
        (pool(name="p" * 41), "at most 40 characters"),
    ],
)
def test_rule_refuses_with_its_message(kubectl: Kubectl, bad: dict[str, Any], message: str) -> None:
    with pytest.raises(KubectlError, match=message):
        kubectl.apply(bad)


def test_defaults_are_filled_in(kubectl: Kubectl) -> None:
    kubectl.apply(job("defaults"), pool("defaults"))
    spec = kubectl.get("llmjob", "defaults")["spec"]
    assert (spec["class"], spec["backoffLimit"], spec["recovery"]) == ("standard", 3, "Resume")
    scaling = kubectl.get("lwp", "defaults")["spec"]["scaling"]
    assert (scaling["minReplicas"], scaling["maxReplicas"]) == (0, 1)


def test_unknown_fields_of_the_body_are_kept(kubectl: Kubectl) -> None:
    body = {"prompt": "x", "top_k": 5, "temperature": 0.5, "nested": {"deep": [1]}}
    kubectl.apply(job("passed", request={"endpoint": "/v1/completions", "body": body}))
    assert kubectl.get("lj", "passed")["spec"]["request"]["body"] == body


@pytest.mark.parametrize(
    "change", [{"model": "other"}, {"backoffLimit": 7}, {"activeDeadlineSeconds": 5}]
)
def test_spec_is_immutable(kubectl: Kubectl, change: dict[str, Any]) -> None:
    kubectl.apply(job("fixed"))
    with pytest.raises(KubectlError, match="can't be changed"):
        kubectl("patch", "lj", "fixed", "--type=merge", "-p", json.dumps({"spec": change}))


@pytest.mark.parametrize(
    "change", [{"suspend": True}, {"class": "batch"}, {"ttlSecondsAfterFinished": 60}]
)
def test_mutable_fields_can_be_changed(kubectl: Kubectl, change: dict[str, Any]) -> None:
    kubectl.apply(job("moving"))
    kubectl("patch", "lj", "moving", "--type=merge", "-p", json.dumps({"spec": change}))


def test_jobs_are_selected_by_model(kubectl: Kubectl) -> None:
    kubectl.apply(job("one", model="selected"), job("two", model="another"))
    found = kubectl("get", "lj", "--field-selector=spec.model=selected", "-o", "name")
    assert found.split() == ["llmjob.llmjobs.dev/one"]


def test_pools_can_be_scaled(kubectl: Kubectl) -> None:
    kubectl.apply(pool("scaled"))
    kubectl("scale", "lwp/scaled", "--replicas=3")
    assert kubectl.get("lwp", "scaled")["spec"]["replicas"] == 3


def test_columns_are_those_people_look_for(kubectl: Kubectl) -> None:
    kubectl.apply(job("columns"))
    header = kubectl("get", "llm").splitlines()[0].split()
    assert header[:6] == ["NAME", "STATUS", "REASON", "MODEL", "CLASS", "PROGRESS"]
