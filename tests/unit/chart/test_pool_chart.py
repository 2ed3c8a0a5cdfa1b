"""What charts/llmjobs-pool makes of its presets and values."""

from typing import Any

import pytest

from llmjobs_core.resources import parse_pool
from llmjobs_operator.pool_objects import WorkerDefaults, build_deployment
from llmjobs_testing.charts import HELMS, HelmRefused, Manifest, find, names_of, render

EXTERNAL: dict[str, Any] = {
    "preset": "external",
    "spec": {"engine": {"external": {"baseURL": "https://llm.example.com"}}},
}
PRESETS: dict[str, dict[str, Any]] = {
    "vllm": {"preset": "vllm"},
    "vllm-70b": {"preset": "vllm-70b", "huggingFace": {"existingSecret": "hf"}},
    "external": EXTERNAL,
    "llamacpp-cpu": {"preset": "llamacpp-cpu"},
    "none": {"spec": {"models": ["m"], "engine": {"container": {"image": "x:1"}}}},
}


def render_pool(*values: dict[str, Any], helm: str = HELMS[0]) -> list[Manifest]:
    return render(*values, chart="llmjobs-pool", release="p", helm=helm)


def spec_of(*values: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = find(render_pool(*values), "LLMWorkerPool", "p")["spec"]
    return spec


def build_pod(*values: dict[str, Any]) -> dict[str, Any]:
    """Return the pod that the operator makes of the chart's pool."""
    body = find(render_pool(*values), "LLMWorkerPool", "p")
    body["metadata"] |= {"uid": "u", "generation": 1}
    defaults = WorkerDefaults("worker:1", "", "store", "url", "llmjobs:", "json")
    deployment = build_deployment(parse_pool(body), defaults, replicas=1)
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_both_helms_render_a_preset_the_same(preset: str) -> None:
    first, second = (render_pool(PRESETS[preset], helm=helm) for helm in HELMS)
    assert first == second


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_is_a_pool_that_the_operator_takes(preset: str) -> None:
    pod = build_pod(PRESETS[preset])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_mount_of_a_preset_has_its_volume(preset: str) -> None:
    pod = build_pod(PRESETS[preset])
    volumes = {item["name"] for item in pod["volumes"]}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert {item["name"] for item in container["volumeMounts"]} <= volumes


def test_a_large_model_is_split_over_four_gpus_with_shared_memory_and_a_volume() -> None:
    pod = build_pod(PRESETS["vllm-70b"])
    engine = pod["initContainers"][0]
    assert engine["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert "--tensor-parallel-size=4" in engine["args"]
    volumes = {item["name"]: item for item in pod["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == "p-models"


def test_a_large_model_has_an_hour_to_load() -> None:
    assert spec_of(PRESETS["vllm-70b"])["engine"]["vllm"]["startupSeconds"] == 3600


def test_the_token_comes_from_a_secret() -> None:
    env = spec_of(PRESETS["vllm-70b"])["engine"]["vllm"]["env"]
    token = next(item for item in env if item["name"] == "HF_TOKEN")
    assert token["valueFrom"]["secretKeyRef"] == {"name": "hf", "key": "token"}


def test_the_models_volume_stays_at_uninstall() -> None:
    claim = find(render_pool(PRESETS["vllm-70b"]), "PersistentVolumeClaim", "p-models")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_a_claim_of_ones_own_is_used() -> None:
    values = {**PRESETS["vllm-70b"], "modelCache": {"existingClaim": "weights"}}
    assert names_of(render_pool(values), "PersistentVolumeClaim") == []
    volumes = {item["name"]: item for item in spec_of(values)["template"]["spec"]["volumes"]}
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == "weights"


def test_a_value_is_laid_over_the_preset() -> None:
    spec = spec_of({"preset": "vllm", "spec": {"scaling": {"maxReplicas": 9}}})
    assert spec["scaling"]["maxReplicas"] == 9
    assert spec["scaling"]["targetDrainSeconds"] == 120


def test_another_engine_takes_the_place_of_the_presets() -> None:
    engine = spec_of({"preset": "vllm", "spec": {"engine": {"container": {"image": "x:1"}}}})
    assert list(engine["engine"]) == ["container"]


def test_environment_of_ones_own_wins() -> None:
    values = {
        "preset": "vllm",
        "spec": {"engine": {"vllm": {"env": [{"name": "HF_HOME", "value": "/x"}]}}},
    }
    env = spec_of(values)["engine"]["vllm"]["env"]
    assert [item["value"] for item in env if item["name"] == "HF_HOME"] == ["/x"]


def test_gpus_of_another_maker_can_be_named() -> None:
    engine = spec_of({"preset": "vllm", "gpu": {"count": 2, "resource": "amd.com/gpu"}})["engine"]
    assert engine["vllm"]["resources"]["limits"] == {"amd.com/gpu": "2"}


def test_placement_reaches_the_pods() -> None:
    taint = {"key": "nvidia.com/gpu", "operator": "Exists"}
    values = {
        "preset": "vllm",
        "tolerations": [taint],
        "nodeSelector": {"gpu": "h100"},
        "runtimeClassName": "nvidia",
    }
    pod = build_pod(values)
    assert pod["tolerations"] == [taint]
    assert (pod["nodeSelector"], pod["runtimeClassName"]) == ({"gpu": "h100"}, "nvidia")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "set preset"),
        ({"preset": "external"}, "baseURL"),
        ({"preset": "vlm"}, "preset"),
        ({"preset": "vllm", "spec": {"scaling": {"maxReplica": 2}}}, "maxReplica"),
        ({"preset": "vllm", "spec": {"concurrency": 0}}, "concurrency"),
    ],
)
@pytest.mark.parametrize("helm", HELMS)
def test_a_wrong_value_is_refused_by_its_name(
    helm: str, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(HelmRefused, match=words):
        render_pool(values, helm=helm)


def test_a_budget_is_made_only_above_one_replica() -> None:
    one = {"preset": "vllm", "spec": {"scaling": {"maxReplicas": 1}}}
    assert names_of(render_pool({"preset": "vllm"}), "PodDisruptionBudget") == ["p"]
    assert names_of(render_pool(one), "PodDisruptionBudget") == []


def test_a_redis_with_a_ca_of_its_own_is_known_to_the_workers() -> None:
    pod = build_pod(EXTERNAL, {"redisCaSecret": "store-ca"})
    (volume,) = (v for v in pod["volumes"] if v.get("secret", {}).get("secretName") == "store-ca")
    worker = next(c for c in pod["containers"] if c["name"] == "worker")
    mounts = {mount["name"]: mount["mountPath"] for mount in worker["volumeMounts"]}
    assert mounts[volume["name"]] == "/etc/llmjobs/redis"
