"""Releases of the chart on a real API server: installed, upgraded, uninstalled, installed again."""

import base64
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_monitoring.dashboards import DASHBOARDS
from llmjobs_testing.charts import HELMS, ROOT
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import build_job, build_pool, wait_until
from llmjobs_testing.releases import Releases

VALUES: dict[str, Any] = {"valkey": {"enabled": True}, "tests": {"pool": "small"}}
PARTS = {"exporter", "gateway", "operator", "valkey"}
NAMES = ("llmjobs-operator", "llmjobs-gateway", "llmjobs-exporter")
RIGHTS = Path(__file__).parent / "rights"


@pytest.fixture(params=HELMS)
def releases(request: pytest.FixtureRequest, plane: ControlPlane, kubectl: Kubectl) -> Any:
    """Helm in the test's namespace; nothing of it stays.

    A kind is deleted once it has been served: an API server that is told to delete one while it
    opens its storage fails ("storage is (re)initializing"), and waits minutes to try again.
    """
    releases = Releases(plane, kubectl.namespace, request.param)
    yield releases
    releases("uninstall", "llmjobs", "--ignore-not-found")
    for kind in ("llmjobs", "llmworkerpools"):
        wait_until(partial(kubectl.is_served, kind), what=f"{kind} to be served")
    kubectl("delete", "crd", "llmjobs.llmjobs.dev", "llmworkerpools.llmjobs.dev")


def read_password(kubectl: Kubectl) -> str:
    secret = kubectl.get("secret", "llmjobs-valkey")["data"]
    return base64.b64decode(secret["password"]).decode()


def list_parts(kubectl: Kubectl) -> set[str]:
    """Return the parts of which there is a pod: admission let it in."""
    found = json.loads(kubectl("get", "pods", "-o", "json"))["items"]
    return {item["metadata"]["labels"].get("app.kubernetes.io/component") for item in found}


def test_a_restricted_namespace_takes_everything_without_a_warning(
    releases: Releases, kubectl: Kubectl
) -> None:
    said = releases.install(VALUES)
    assert "would violate PodSecurity" not in said
    assert "warning" not in said.lower()
    wait_until(lambda: list_parts(kubectl) >= PARTS, what="a pod of each part")


def test_the_generated_password_survives_upgrades_and_rollbacks(
    releases: Releases, kubectl: Kubectl
) -> None:
    releases.install(VALUES)
    before = read_password(kubectl)
    releases.upgrade({**VALUES, "logLevel": "debug"})
    assert read_password(kubectl) == before
    releases("rollback", "llmjobs", "1")
    assert read_password(kubectl) == before
    assert len(before) == 40


def test_an_upgrade_that_changes_nothing_restarts_nothing(
    releases: Releases, kubectl: Kubectl
) -> None:
    releases.install(VALUES)
    before = {name: kubectl.get("deploy", name)["metadata"]["generation"] for name in NAMES}
    releases.upgrade(VALUES)
    after = {name: kubectl.get("deploy", name)["metadata"]["generation"] for name in NAMES}
    assert after == before


def test_an_autoscaler_keeps_its_replicas_through_an_upgrade(
    releases: Releases, kubectl: Kubectl
) -> None:
    values = {**VALUES, "gateway": {"autoscaling": {"enabled": True}}}
    releases.install(values)
    kubectl("scale", "deploy/llmjobs-gateway", "--replicas=5")
    releases.upgrade({**values, "logLevel": "debug"})
    assert kubectl.get("deploy", "llmjobs-gateway")["spec"]["replicas"] == 5


def test_llmjobs_and_pools_outlive_the_release_and_the_next_one_takes_them_over(
    releases: Releases, kubectl: Kubectl
) -> None:
    releases.install(VALUES)
    kubectl("wait", "--for=condition=Established", "crd/llmjobs.llmjobs.dev", "--timeout=60s")
    wait_until(
        lambda: kubectl.is_applied(build_pool(), build_job("kept")), what="the kinds to be served"
    )
    password = read_password(kubectl)
    releases("uninstall", "llmjobs")
    assert kubectl.get("lj", "kept")["spec"]["model"] == "m"
    releases.install(VALUES)
    assert kubectl.get("lwp", "p")["spec"]["models"] == ["m"]
    assert read_password(kubectl) == password
    kubectl("delete", "lj/kept", "lwp/p")


def test_crds_that_were_there_before_are_taken_into_the_release_as_the_docs_say(
    releases: Releases, kubectl: Kubectl
) -> None:
    kubectl.install_crds()
    crds = ("crd", "llmjobs.llmjobs.dev", "llmworkerpools.llmjobs.dev")
    kubectl("label", *crds, "app.kubernetes.io/managed-by=Helm")
    place = f"meta.helm.sh/release-namespace={kubectl.namespace}"
    kubectl("annotate", *crds, "meta.helm.sh/release-name=llmjobs", place)
    releases.install(VALUES)


def test_each_account_may_do_exactly_what_was_reviewed(
    releases: Releases, kubectl: Kubectl
) -> None:
    """After a change of rights, read the difference, and write what is right to the file."""
    releases.install(VALUES)
    for account in ("operator", "gateway"):
        user = f"system:serviceaccount:{kubectl.namespace}:llmjobs-{account}"
        for place, namespace in (("own", kubectl.namespace), ("other", "default")):
            listed = kubectl("auth", "can-i", "--list", f"--as={user}", "-n", namespace)
            rights = "\n".join(sorted(_normalise(listed))) + "\n"
            assert rights == (RIGHTS / f"{account}-{place}.txt").read_text(), (account, place)


def _normalise(listed: str) -> list[str]:
    """Return resources and verbs, without what everybody may do."""
    rows = [" ".join(line.split()) for line in listed.splitlines()[1:]]
    everybody = ("selfsubject", "[/", "clustertrustbundles")
    return [row for row in rows if row and not row.startswith(everybody)]


def test_the_rendered_manifests_are_taken_as_they_are(
    kubectl: Kubectl, plane: ControlPlane
) -> None:
    system = Kubectl(plane, "llmjobs-system")
    install = str(ROOT / "manifests" / "install.yaml")
    system("apply", "--server-side", "--validate=strict", "-f", install)
    wait_until(
        lambda: list_parts(system) >= {"exporter", "gateway", "operator"},
        what="a pod of each part",
    )
    system("delete", "--wait=false", "-f", install)


def test_the_kustomize_overlay_is_taken_as_it_is(plane: ControlPlane) -> None:
    cluster = Kubectl(plane, "llmjobs-system")
    overlay = ROOT / "manifests" / "overlays" / "registry"
    built = cluster("kustomize", str(overlay))
    assert "registry.example.com/llmjobs:0.1.0" in built
    assert "registry.example.com/llmjobs-worker:0.1.0" in built


def test_the_monitoring_that_kustomize_builds_is_taken_where_its_kinds_are(
    plane: ControlPlane,
) -> None:
    cluster = Kubectl(plane, "default")
    built = cluster("kustomize", str(ROOT / "manifests" / "monitoring"))
    maps = [item for item in yaml.safe_load_all(built) if item["kind"] == "ConfigMap"]
    for item in maps:
        item["metadata"]["namespace"] = "default"
    cluster.apply(*maps)
    assert len(maps) == len(DASHBOARDS)
