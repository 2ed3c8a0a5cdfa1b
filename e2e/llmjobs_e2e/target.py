"""The cluster that scenarios run on, ours or an existing one: kubectl, Helm, and the gateway."""

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from llmjobs_e2e.builder import ROOT
from llmjobs_e2e.cluster import Cluster, find_kubectl
from llmjobs_e2e.image_builds import NEXT_TAG, read_version
from llmjobs_e2e.node_files import NodeFolders

HELM = ROOT / ".tools" / "helm"
KINDS = ROOT / ".tools" / "kinds"
HELM4, HELM3 = HELM / "helm-4.2", HELM / "helm-3.17"
SYSTEM = "llmjobs-system"
RELEASE = "llmjobs"


Measure = Callable[[str, float, float], None]
"""Notes a figure and checks it: what it is, its value, and the most it may be."""


class CommandFailedError(AssertionError):
    """kubectl or Helm refused; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Images:
    """What the scenarios' images are called. *prefix* is a registry's: ``ghcr.io/me/``."""

    prefix: str = ""
    tag: str = field(default_factory=read_version)

    def values(self, *, tag: str = "") -> dict[str, Any]:
        """Return the chart's values that name the images; *tag* is another version's."""
        tag = tag or self.tag
        return {
            "image": {"repository": f"{self.prefix}llmjobs", "tag": tag},
            "worker": {"image": {"repository": f"{self.prefix}llmjobs-worker", "tag": tag}},
            "valkey": {"image": {"repository": f"{self.prefix}llmjobs-e2e-valkey", "tag": "0"}},
        }

    @property
    def next_tag(self) -> str:
        """The tag of another version."""
        return NEXT_TAG

    @property
    def llama(self) -> str:
        """llama.cpp with its small model."""
        return f"{self.prefix}llmjobs-llama:{self.tag}"

    @property
    def vllm(self) -> str:
        """VLLM for CPUs with a tiny model; our own clusters get it by `Cluster.add_images`."""
        return f"{self.prefix}llmjobs-e2e-vllm:0"

    @property
    def engine(self) -> str:
        """The scripted engine."""
        return f"{self.prefix}llmjobs-e2e-engine:0"


@dataclass(frozen=True, slots=True)
class Installed:
    """How the chart's installation went."""

    said: str
    """By Helm, warnings included."""
    took_s: float


class Target:
    """One cluster, and the product in it."""

    def __init__(self, kubeconfig: Path, *, images: Images, own: Cluster | None = None) -> None:
        """*own* is the cluster where it is ours, and may be struck."""
        self.kubeconfig = kubeconfig
        self.images = images
        self.own = own
        self._kubectl = [str(find_kubectl()), "--kubeconfig", str(kubeconfig)]

    def kubectl(self, *args: str, stdin: str = "", timeout_s: float = 180.0) -> str:
        """Run kubectl and return what it prints. Raises CommandFailedError."""
        return _run([*self._kubectl, *args], stdin, timeout_s)

    def popen(self, *args: str) -> "subprocess.Popen[str]":
        """Start kubectl, its output in a pipe: for watching."""
        return subprocess.Popen([*self._kubectl, *args], stdout=subprocess.PIPE, text=True)

    def helm(
        self,
        *args: str,
        namespace: str = SYSTEM,
        values: Mapping[str, Any] | None = None,
        helm: Path = HELM4,
    ) -> str:
        """Run Helm and return what it prints, warnings included. Raises CommandFailedError."""
        given = ["--values", "-"] if values is not None else []
        argv = [str(helm), "--kubeconfig", str(self.kubeconfig), "--namespace", namespace]
        return _run([*argv, *args, *given], yaml.safe_dump(dict(values or {})), 300.0, both=True)

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """Return one object."""
        found: dict[str, Any] = json.loads(
            self.kubectl("-n", namespace, "get", kind, name, "-o", "json")
        )
        return found

    def list(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """Return the objects of a kind, selected by labels."""
        argv = ["-n", namespace, "get", kind, "-l", selector, "-o", "json"]
        found: list[dict[str, Any]] = json.loads(self.kubectl(*argv))["items"]
        return found

    def apply(self, *objects: Mapping[str, Any], namespace: str = "default") -> None:
        """Apply objects."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(document))

    # -- the product ----------------------------------------------------------------------------

    def values(self, **changes: Any) -> dict[str, Any]:
        """Return the values that the scenarios' release has; *changes* replace whole sections."""
        values: dict[str, Any] = self.images.values()
        values["valkey"]["enabled"] = True
        return {**values, **changes}

    def install(self, *, helm: Path = HELM4, values: Mapping[str, Any] | None = None) -> str:
        """Install the chart and wait until all of it is ready; returns what Helm said."""
        argv = ["install", RELEASE, str(ROOT / "charts" / "llmjobs"), "--wait", "--timeout=120s"]
        return self.helm(*argv, values=values or self.values(), helm=helm)

    def add_foreign_kinds(self) -> None:
        """Add the kinds that Prometheus operator, KEDA and Gateway API bring, to our own cluster.

        Nobody acts on them here; the chart makes its monitors where they are known.
        """
        if self.own is None:
            return
        self.kubectl("apply", "--server-side", "-f", str(KINDS))
        self.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s")

    def is_installed(self) -> bool:
        """Whether the release is there."""
        return RELEASE in self.helm("list", "--short").split()

    def offer_volume(self, name: str) -> None:
        """Give our own node a volume for the store; other clusters have their own way."""
        if self.own is None:
            return
        folder = NodeFolders(self.own.folder).volumes / name
        folder.mkdir(parents=True)
        folder.chmod(0o777)
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "8Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": str(folder)},
            },
        }
        self.apply(volume)

    def ensure_team(self, namespace: str) -> None:
        """Make the team's namespace unless it is there."""
        if not self.kubectl("get", "namespace", namespace, "--ignore-not-found"):
            self.create_team(namespace)

    def create_team(self, namespace: str) -> None:
        """Make a restricted namespace whose pools reach the store and whose account may edit."""
        self.create_namespace(namespace)
        secret = self.get("secret", "llmjobs-valkey", SYSTEM)
        secret["metadata"] = {"name": "llmjobs-valkey"}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app"}}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "app-edits"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": namespace}],
        }  # fmt: skip
        self.apply(secret, account, binding, namespace=namespace)

    def create_namespace(self, namespace: str) -> None:
        """Make a namespace that enforces the restricted standard, and warns of what breaks it."""
        self.kubectl("create", "namespace", namespace)
        label = "pod-security.kubernetes.io"
        self.kubectl(
            "label", "namespace", namespace, f"{label}/enforce=restricted",
            f"{label}/warn=restricted",
        )  # fmt: skip
        self.kubectl("-n", namespace, "wait", "--for=create", "sa/default", "--timeout=60s")

    def fetch_token(self, namespace: str) -> str:
        """Return a token of the team's account."""
        return self.kubectl("-n", namespace, "create", "token", "app", "--duration=2h").strip()

    def fetch_gateway_url(self) -> str:
        """Return where the gateway is reached: E2E_GATEWAY_URL, or its Service's address."""
        given = os.environ.get("E2E_GATEWAY_URL")
        if given:
            return given.rstrip("/")
        service = self.get("service", f"{RELEASE}-gateway", SYSTEM)
        return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    def fetch_memory(self, namespace: str) -> dict[str, float]:
        """Return the working set of each pod of a namespace, in MiB, as its kubelet tells."""
        found: dict[str, float] = defaultdict(float)
        for node in json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]:
            path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/metrics/resource"
            for family in text_string_to_metric_families(self.kubectl("get", "--raw", path)):
                for sample in family.samples:
                    is_memory = sample.name == "container_memory_working_set_bytes"
                    if is_memory and sample.labels["namespace"] == namespace:
                        found[sample.labels["pod"]] += sample.value / 2**20
        return found

    def wait_for_deployment(self, name: str, namespace: str, timeout_s: int = 120) -> None:
        """Return when the Deployment has all its pods at its newest template."""
        self.kubectl(
            "-n", namespace, "rollout", "status", f"deployment/{name}", f"--timeout={timeout_s}s"
        )


def read_time(job: Mapping[str, Any], name: str) -> float:
    """Return one of a job's times, in seconds since the epoch."""
    return datetime.fromisoformat(job[name]).timestamp()


def _run(argv: list[str], stdin: str, timeout_s: float, *, both: bool = False) -> str:
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode != 0:
        raise CommandFailedError(f"{' '.join(argv[:6])} ...: {done.stderr}{done.stdout}")
    return done.stdout + done.stderr if both else done.stdout
