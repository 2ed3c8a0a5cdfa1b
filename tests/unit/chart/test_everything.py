"""What holds for the whole chart, whatever options are on, and in both Helms."""

from typing import Any

import kubernetes_validate
import pytest

from llmjobs_testing.charts import (
    HELMS,
    MONITORING,
    ROUTES,
    STORE,
    Manifest,
    containers,
    names_of,
    pod_specs,
    render,
    rules,
)

OPTIONS: dict[str, Any] = {
    "flower": {"enabled": True, "auth": {"existingSecret": "flower"}},
    "gateway": {
        "autoscaling": {"enabled": True},
        "ingress": {"enabled": True, "hosts": [{"host": "jobs.example.com"}]},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
    },
    "exporter": {"replicas": 2},
    "tests": {"pool": "small"},
}
VALKEY: dict[str, Any] = {"valkey": {"enabled": True, "auth": {"existingSecret": "store"}}}
CHOICES: dict[str, dict[str, Any]] = {
    "external": STORE,
    "everything": {**OPTIONS, **VALKEY},
    "url": {"redis": {"external": {"url": "rediss://me:secret@redis.example.com:6380/0"}}},
    "namespaced": {
        **STORE,
        "rbac": {"namespaced": True},
        "gateway": {"auth": "apikeys", "apiKeysSecret": "keys"},
    },
}
APIS = (*MONITORING, *ROUTES)
FOREIGN = {"HTTPRoute", "PodMonitor", "PrometheusRule", "ServiceMonitor"}


@pytest.fixture(params=sorted(CHOICES))
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(CHOICES[request.param], apis=APIS)


@pytest.mark.parametrize("choice", sorted(CHOICES))
def test_both_helms_render_the_same(choice: str) -> None:
    first, second = (render(CHOICES[choice], apis=APIS, helm=helm) for helm in HELMS)
    assert first == second


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_every_object_fits_the_oldest_and_the_newest_kubernetes(version: str) -> None:
    for item in render(CHOICES["everything"], apis=APIS):
        if item["kind"] not in FOREIGN:
            kubernetes_validate.validate(item, version, strict=True)


def test_every_pod_is_restricted(objects: list[Manifest]) -> None:
    for name, spec in pod_specs(objects):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name


def test_every_container_is_restricted_and_read_only(objects: list[Manifest]) -> None:
    for name, container in containers(objects):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_every_container_asks_for_resources_and_has_a_memory_limit(objects: list[Manifest]) -> None:
    for name, container in containers(objects):
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
        assert "memory" in container["resources"]["limits"], name


def test_every_server_has_all_three_probes(objects: list[Manifest]) -> None:
    for name, container in containers(objects):
        if not name.startswith("Pod "):
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), name


def test_no_image_floats(objects: list[Manifest]) -> None:
    for name, container in containers(objects):
        tag = container["image"].rpartition(":")[2]
        assert tag not in {"", "latest"}, name


def test_no_environment_has_a_name_twice(objects: list[Manifest]) -> None:
    for name, container in containers(objects):
        names = [item["name"] for item in container["env"]]
        assert len(names) == len(set(names)), name


def test_no_secret_is_in_the_environment_itself(objects: list[Manifest]) -> None:
    for name, container in containers(objects):
        assert "secret@" not in str(container["env"]), name


def test_no_rule_has_a_wildcard(objects: list[Manifest]) -> None:
    for name, rule in rules(objects):
        listed = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert "*" not in listed, name


def test_nobody_may_read_secrets(objects: list[Manifest]) -> None:
    for name, rule in rules(objects):
        assert "secrets" not in rule["resources"], name


def test_nobody_may_bind_or_escalate(objects: list[Manifest]) -> None:
    for name, rule in rules(objects):
        assert not {"bind", "escalate", "impersonate"} & set(rule["verbs"]), name


def test_only_pods_that_call_the_api_server_have_a_token(objects: list[Manifest]) -> None:
    with_token = {name for name, spec in pod_specs(objects) if spec["automountServiceAccountToken"]}
    wanted = {"Deployment llmjobs-operator", "Deployment llmjobs-gateway"}
    assert {name for name in with_token if not name.startswith("Pod ")} == wanted


def test_every_pod_of_ours_has_a_network_policy(objects: list[Manifest]) -> None:
    made = {
        item["metadata"]["name"]
        for item in objects
        if item["kind"] in {"Deployment", "StatefulSet"}
    }
    assert set(names_of(objects, "NetworkPolicy")) == made


def test_every_selector_matches_its_pods(objects: list[Manifest]) -> None:
    for item in objects:
        if item["kind"] in {"Deployment", "StatefulSet"}:
            wanted = item["spec"]["selector"]["matchLabels"].items()
            assert wanted <= item["spec"]["template"]["metadata"]["labels"].items()


def test_every_object_says_what_it_belongs_to(objects: list[Manifest]) -> None:
    for item in objects:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "llmjobs", item["metadata"]["name"]
        assert labels["app.kubernetes.io/part-of"] == "llmjobs", item["metadata"]["name"]


def test_a_namespaced_installation_makes_nothing_outside_namespaces() -> None:
    found = {item["kind"] for item in render(CHOICES["namespaced"])}
    assert found & {"ClusterRole", "ClusterRoleBinding", "Namespace"} == set()


def test_a_namespaced_operator_looks_only_at_its_namespaces() -> None:
    operator = dict(containers(render(CHOICES["namespaced"])))[
        "Deployment llmjobs-operator/operator"
    ]
    env = {item["name"]: item.get("value") for item in operator["env"]}
    assert env["LLMJOBS_NAMESPACES"] == "llmjobs-system"
