"""What each value of charts/llmjobs does."""

import json
from typing import Any

import pytest
import yaml

from llmjobs_monitoring.dashboards import DASHBOARDS
from llmjobs_monitoring.rules import build_rules
from llmjobs_testing.charts import (
    HELMS,
    MONITORING,
    NAMESPACE,
    ROOT,
    ROUTES,
    STORE,
    HelmRefused,
    Manifest,
    find,
    names_of,
    render,
    rules,
)

PARTS = ["llmjobs-gateway", "llmjobs-operator"]


def env_of(objects: list[Manifest], name: str) -> dict[str, Any]:
    spec = find(objects, "Deployment", name)["spec"]["template"]["spec"]
    return {item["name"]: item.get("value") for item in spec["containers"][0]["env"]}


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"gatway": {}}, "gatway"),
        ({"gateway": {"replica": 3}}, "replica"),
        ({"gateway": {"auth": "kerberos"}}, "auth"),
        ({"operator": {"replicas": "two"}}, "replicas"),
        ({"operator": {"tolerations": [{"keys": "gpu"}]}}, "keys"),
        ({"networkPolicy": {"apiServer": {"ports": [0]}}}, "ports"),
        ({"image": {"digest": "sha256:short"}}, "digest"),
        ({"valkey": {"persistence": {"sise": "1Gi"}}}, "sise"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(
    helm: str, values: dict[str, Any], place: str
) -> None:
    with pytest.raises(HelmRefused, match=place):
        render(STORE, values, helm=helm)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no store"),
        ({**STORE, "valkey": {"enabled": True}}, "two stores"),
        ({**STORE, "gateway": {"auth": "none"}}, "allowAnonymous"),
        ({**STORE, "gateway": {"auth": "apikeys"}}, "apiKeysSecret"),
        ({**STORE, "rbac": {"namespaced": True}}, "authDelegatorExists"),
        ({**STORE, "flower": {"enabled": True}}, "flower.auth.existingSecret"),
        ({**STORE, "gateway": {"httpRoute": {"enabled": True}}}, "parentRefs"),
        ({**STORE, "gateway": {"ingress": {"enabled": True}}}, "hosts"),
        ({**STORE, "operator": {"serviceAccount": {"create": False}}}, "serviceAccount.name"),
    ],
)
def test_values_that_contradict_each_other_are_explained(
    values: dict[str, Any], words: str
) -> None:
    with pytest.raises(HelmRefused, match=words):
        render(values)


@pytest.mark.parametrize("chart", ["llmjobs", "llmjobs-pool"])
def test_an_old_kubernetes_is_refused(chart: str) -> None:
    text = (ROOT / "charts" / chart / "Chart.yaml").read_text()
    assert yaml.safe_load(text)["kubeVersion"] == ">=1.30.0-0"


def test_crds_are_kept_when_the_release_goes() -> None:
    for item in render(STORE):
        if item["kind"] == "CustomResourceDefinition":
            assert item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_crds_go_with_the_release_where_that_is_asked_for() -> None:
    crds = [i for i in render(STORE, {"crds": {"keep": False}}) if i["kind"].startswith("Custom")]
    assert len(crds) == 2
    assert all("annotations" not in item["metadata"] for item in crds)


def test_crds_can_be_left_to_others() -> None:
    assert names_of(render(STORE, {"crds": {"install": False}}), "CustomResourceDefinition") == []


def test_a_budget_is_made_only_above_one_replica() -> None:
    assert names_of(render(STORE), "PodDisruptionBudget") == PARTS
    single = {"operator": {"replicas": 1}, "gateway": {"replicas": 1}}
    assert names_of(render(STORE, single), "PodDisruptionBudget") == []


def test_an_autoscaled_gateway_has_no_replicas_of_its_own() -> None:
    objects = render(STORE, {"gateway": {"autoscaling": {"enabled": True}}})
    assert "replicas" not in find(objects, "Deployment", "llmjobs-gateway")["spec"]
    assert find(objects, "HorizontalPodAutoscaler", "llmjobs-gateway")["spec"]["minReplicas"] == 2


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_monitors_are_made_only_where_their_crd_is(kind: str) -> None:
    assert names_of(render(STORE), kind) == []
    assert names_of(render(STORE, apis=MONITORING), kind) != []


@pytest.mark.parametrize(("value", "kind"), [("service", "Service"), ("pod", "Pod")])
def test_monitors_can_be_turned_off(value: str, kind: str) -> None:
    off = {"monitoring": {f"{value}Monitor": {"enabled": False}}}
    assert names_of(render(STORE, off, apis=MONITORING), f"{kind}Monitor") == []


def test_workers_and_engines_of_all_namespaces_are_scraped() -> None:
    spec = find(render(STORE, apis=MONITORING), "PodMonitor", "llmjobs-workers")["spec"]
    assert spec["namespaceSelector"] == {"any": True}
    assert [item["port"] for item in spec["podMetricsEndpoints"]] == ["metrics", "engine"]


def find_alerts(**rule: Any) -> dict[str, Manifest]:
    values = {"monitoring": {"prometheusRule": rule}}
    (found,) = (
        item for item in render(STORE, values, apis=MONITORING) if item["kind"] == "PrometheusRule"
    )
    (group,) = found["spec"]["groups"]
    return {alert["alert"]: alert for alert in group["rules"]}


def test_the_alerts_are_those_of_the_code() -> None:
    assert list(find_alerts().values()) == build_rules()["groups"][0]["rules"]


def test_alerts_are_made_only_where_their_crd_is() -> None:
    assert names_of(render(STORE), "PrometheusRule") == []


def test_an_alert_can_be_left_out() -> None:
    assert "LLMJobsWorkersSaturated" not in find_alerts(disabled=["LLMJobsWorkersSaturated"])


def test_alerts_link_to_where_the_runbooks_are_published() -> None:
    alert = find_alerts(runbookUrl="https://wiki.example.com/llmjobs/")["LLMJobsBrokerDown"]
    assert alert["annotations"]["runbook_url"] == "https://wiki.example.com/llmjobs/broker-down.md"


def test_each_dashboard_is_a_config_map_that_grafanas_sidecar_finds() -> None:
    maps = [
        item for item in render(STORE) if item["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    read = {json.loads(text)["uid"] for item in maps for text in item["data"].values()}
    assert read == {dashboard.uid for dashboard in DASHBOARDS}


def test_a_route_is_made_only_where_its_crd_is() -> None:
    route = {"gateway": {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}}
    assert names_of(render(STORE, route), "HTTPRoute") == []
    spec = find(render(STORE, route, apis=ROUTES), "HTTPRoute", "llmjobs-gateway")["spec"]
    assert spec["rules"][0]["timeouts"] == {"request": "0s", "backendRequest": "0s"}


def test_an_ingress_neither_buffers_nor_cuts_streams() -> None:
    ingress = {"gateway": {"ingress": {"enabled": True, "hosts": [{"host": "a.example"}]}}}
    notes = find(render(STORE, ingress), "Ingress", "llmjobs-gateway")["metadata"]["annotations"]
    assert notes["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert notes["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "3600"


def test_a_name_set_twice_in_the_environment_is_there_once() -> None:
    extra = [{"name": "LLMJOBS_LOG_LEVEL", "value": "debug"}, {"name": "A", "value": "1"}]
    env = env_of(render(STORE, {"operator": {"extraEnv": extra}}), "llmjobs-operator")
    assert (env["LLMJOBS_LOG_LEVEL"], env["A"]) == ("debug", "1")


def test_a_gateway_has_the_time_it_needs_to_end() -> None:
    values = {"gateway": {"preStopSeconds": 7, "shutdownGraceSeconds": 40}}
    objects = render(STORE, values)
    spec = find(objects, "Deployment", "llmjobs-gateway")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 52
    assert spec["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 7}}
    assert env_of(objects, "llmjobs-gateway")["LLMJOBS_SHUTDOWN_GRACE_S"] == "40"


def test_a_url_is_put_into_a_secret_that_workers_read_too() -> None:
    url = "rediss://me:pw@redis.example.com:6380/0"
    objects = render({"redis": {"external": {"url": url}}})
    assert find(objects, "Secret", "llmjobs-redis")["stringData"] == {"url": url}
    assert env_of(objects, "llmjobs-operator")["LLMJOBS_WORKER_REDIS_SECRET"] == "llmjobs-redis"


def test_another_url_restarts_what_reads_it() -> None:
    pods = [
        find(
            render({"redis": {"external": {"url": f"redis://{host}"}}}),
            "Deployment",
            "llmjobs-gateway",
        )["spec"]["template"]
        for host in ("one", "two")
    ]
    assert pods[0] != pods[1]


def test_the_ca_of_the_store_is_where_the_url_says() -> None:
    values = {"redis": {"external": {"caSecret": "store-ca"}}}
    pod = find(render(STORE, values), "Deployment", "llmjobs-exporter")["spec"]["template"]["spec"]
    mounts = {item["name"]: item["mountPath"] for item in pod["containers"][0]["volumeMounts"]}
    assert mounts["redis-ca"] == "/etc/llmjobs/redis"


def test_valkey_keeps_its_file_and_evicts_nothing() -> None:
    objects = render({"valkey": {"enabled": True, "extraConfig": "maxmemory-policy allkeys-lru"}})
    config = find(objects, "ConfigMap", "llmjobs-valkey")["data"]["valkey.conf"].splitlines()
    assert "appendonly yes" in config
    assert config[-1] == "maxmemory-policy noeviction"
    claim = find(objects, "StatefulSet", "llmjobs-valkey")["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["resources"]["requests"]["storage"] == "8Gi"


def test_valkey_is_only_reached_by_ours_and_by_workers() -> None:
    policy = find(render({"valkey": {"enabled": True}}), "NetworkPolicy", "llmjobs-valkey")["spec"]
    assert len(policy["ingress"][0]["from"]) == 2
    assert "egress" not in policy


def test_flower_asks_for_a_password() -> None:
    values = {"flower": {"enabled": True, "auth": {"existingSecret": "flower"}}}
    pod = find(render(STORE, values), "Deployment", "llmjobs-flower")["spec"]["template"]["spec"]
    env = {item["name"]: item for item in pod["containers"][0]["env"]}
    assert env["FLOWER_BASIC_AUTH"]["valueFrom"]["secretKeyRef"]["name"] == "flower"


def test_watched_namespaces_get_roles_and_no_cluster_role_for_work() -> None:
    objects = render(STORE, {"watchNamespaces": ["team-a", "team-b"]})
    roles = [i for i in objects if (i["kind"], i["metadata"]["name"]) == ("Role", PARTS[1])]
    assert [item["metadata"]["namespace"] for item in roles] == ["team-a", "team-b"]
    assert f"{NAMESPACE}-llmjobs-operator" not in names_of(objects, "ClusterRole")


def test_the_lease_is_held_in_the_releases_namespace_only() -> None:
    leases = [name for name, rule in rules(render(STORE)) if "leases" in rule["resources"]]
    assert leases == ["Role llmjobs-operator-lease"]


def test_kubernetes_own_roles_take_in_ours() -> None:
    labels = {
        name: find(render(STORE), "ClusterRole", f"{NAMESPACE}-llmjobs-{name}")["metadata"][
            "labels"
        ]
        for name in ("view", "edit")
    }
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {key for key in labels["view"] if key.startswith(prefix)} == {
        f"{prefix}view", f"{prefix}edit", f"{prefix}admin"
    }  # fmt: skip
    assert f"{prefix}view" not in labels["edit"]


def test_a_gateway_without_durable_jobs_may_not_write_llmjobs() -> None:
    objects = render(STORE, {"gateway": {"durableJobs": False}})
    assert all("durable" not in item["metadata"]["name"] for item in objects)


def test_named_callers_are_the_only_ones_besides_the_release() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
    objects = render(STORE, {"networkPolicy": {"gatewayFrom": [peer]}})
    policy = find(objects, "NetworkPolicy", "llmjobs-gateway")["spec"]
    assert policy["ingress"][0]["from"][0] == peer
    assert len(policy["ingress"][0]["from"]) == 2


def test_network_policies_can_be_turned_off() -> None:
    assert names_of(render(STORE, {"networkPolicy": {"enabled": False}}), "NetworkPolicy") == []


def test_extra_objects_may_hold_templates() -> None:
    extra = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-x"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-y'}",
    ]
    found = names_of(render(STORE, {"extraObjects": extra}), "ConfigMap")
    assert {"llmjobs-x", "llmjobs-y"} <= set(found)


def test_an_image_with_a_digest_is_pinned_by_it() -> None:
    digest = f"sha256:{'0' * 64}"
    objects = render(STORE, {"image": {"digest": digest}})
    spec = find(objects, "Deployment", "llmjobs-operator")["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == f"llmjobs:0.1.0@{digest}"


def test_pods_of_a_part_are_spread_by_their_own_labels() -> None:
    spec = find(render(STORE), "Deployment", "llmjobs-gateway")["spec"]["template"]["spec"]
    for constraint in spec["topologySpreadConstraints"]:
        labels = constraint["labelSelector"]["matchLabels"]
        assert labels["app.kubernetes.io/component"] == "gateway"


def test_without_a_pool_only_the_gateways_health_is_tested() -> None:
    assert names_of(render(STORE), "Pod") == ["llmjobs-test-health"]


def test_with_a_pool_one_job_goes_through_each_door() -> None:
    assert names_of(render(STORE, {"tests": {"pool": "small"}}), "Pod") == [
        "llmjobs-test-health",
        "llmjobs-test-http-job",
        "llmjobs-test-llmjob",
    ]
