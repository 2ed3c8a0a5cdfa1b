"""The configuration files of a node's programs: pure, but for `write_files`."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

NODE_NAME = "e2e"
BRIDGE = "llmjobs0"
DNS_DOMAIN = "cluster.local"
PAUSE_IMAGE = "docker.io/library/llmjobs-e2e-pause:0"


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses of one cluster; several may be on one machine."""

    index: int

    @property
    def everything(self) -> str:
        """What the machine must send to the node."""
        return f"10.{200 + self.index}.0.0/16"

    @property
    def pods(self) -> str:
        """The pods' network."""
        return f"10.{200 + self.index}.0.0/24"

    @property
    def node(self) -> str:
        """The bridge's address: here are the API server, the kubelet and DNS."""
        return f"10.{200 + self.index}.0.1"

    @property
    def machine_end(self) -> str:
        """The machine's end of the link between machine and node."""
        return f"10.{200 + self.index}.1.1"

    @property
    def node_end(self) -> str:
        """The node's end of it."""
        return f"10.{200 + self.index}.1.2"

    @property
    def services(self) -> str:
        """The services' network."""
        return f"10.{200 + self.index}.128.0/17"

    @property
    def link(self) -> str:
        """The link's name on the machine."""
        return f"llmjobs-e2e{self.index}"

    @property
    def cgroup(self) -> str:
        """The control group that holds all pods."""
        return f"llmjobs-e2e-{self.index}"


@dataclass(frozen=True, slots=True)
class NodeFolders:
    """Where everything of one node lies; gone with the folder."""

    root: Path

    @property
    def containerd(self) -> Path:
        """Images and containers."""
        return self.root / "containerd"

    @property
    def socket(self) -> Path:
        """Containerd's socket."""
        return self.root / "run" / "containerd.sock"

    @property
    def kubelet(self) -> Path:
        """The kubelet's state."""
        return self.root / "kubelet"

    @property
    def files(self) -> Path:
        """The configuration."""
        return self.root / "etc"

    @property
    def logs(self) -> Path:
        """The programs' logs."""
        return self.root / "logs"

    @property
    def plane(self) -> Path:
        """The control plane's data."""
        return self.root / "plane"

    @property
    def volumes(self) -> Path:
        """PersistentVolumes."""
        return self.root / "volumes"


def build_containerd_config(folders: NodeFolders, cni: Path) -> str:
    """Return containerd's config.toml."""
    return f"""version = 3
root = "{folders.containerd / "root"}"
state = "{folders.root / "run" / "containerd"}"
[grpc]
address = "{folders.socket}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{cni}"]
conf_dir = "{folders.files / "cni"}"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"
"""


def build_cni_config(folders: NodeFolders, network: Network) -> str:
    """Return the bridge's conflist. A pod reaches itself by its Service only with hairpin mode."""
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": network.pods, "gateway": network.node}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(folders.root / "run" / "addresses"),
    }
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": ipam,
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return json.dumps({"cniVersion": "1.0.0", "name": "llmjobs", "plugins": plugins})


def build_kubelet_config(
    folders: NodeFolders, network: Network, certificate: Path, key: Path, ca: Path
) -> str:
    """Return the kubelet's configuration; it runs on version 1 and 2 of cgroups."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.node,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(ca)},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{network.cgroup}",
            "clusterDNS": [network.node],
            "clusterDomain": DNS_DOMAIN,
            "containerRuntimeEndpoint": f"unix://{folders.socket}",
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
            "failCgroupV1": False,
            "failSwapOn": False,
            "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": False,
            "maxPods": 200,
            "podLogsDir": str(folders.root / "pod-logs"),
            # Pods know no name of the machine's network.
            "resolvConf": str(folders.files / "resolv.conf"),
            "serializeImagePulls": False,
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(key),
        }
    )


def build_corefile(kubeconfig: Path, network: Network) -> str:
    """Return CoreDNS's configuration: the cluster's names, and no others."""
    return f""".:53 {{
    bind {network.node}
    errors
    ready {network.node}:8181
    kubernetes {DNS_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig} llmjobs-dev
        ttl 5
    }}
    cache 5
}}
"""


def write_files(folders: NodeFolders, files: dict[str, str]) -> None:
    """Write the files by their names below the node's configuration folder."""
    for name, text in files.items():
        path = folders.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
