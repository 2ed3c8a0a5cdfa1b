"""The programs of a node: built by Go from pinned modules, the rest as Debian packages have it.

Built ones stay in the user's cache, beside the control plane's.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmjobs_dev.binaries import (
    KUBERNETES_VERSION,
    Binaries,
    default_cache_dir,
    fetch_binaries,
    kubernetes_package,
    platform_name,
    version_flags,
)
from llmjobs_dev.go_build import Say, build_programs, exclusive

_HERE = Path(__file__).parent
_KUBERNETES = Path(sys.modules["llmjobs_dev.binaries"].__file__ or "").parent / "kubernetes"
CNI_FOLDERS = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")

SYSTEM_PROGRAMS = {
    "conntrack": "conntrack",
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
    "runc": "runc",
    "unshare": "util-linux",
}
"""What a node runs, and Debian's package of it."""


class ProgramsMissingError(RuntimeError):
    """The machine lacks something; the message says all of it, and where it is to be had."""


@dataclass(frozen=True, slots=True)
class _Module:
    name: str
    folder: Path
    packages: Mapping[str, str]
    ldflags: str = ""
    tags: str = ""

    def target(self) -> Path:
        """Return where its programs lie: a new folder for every change of its pins."""
        pins = b"".join((self.folder / name).read_bytes() for name in ("go.mod", "go.sum"))
        digest = hashlib.sha256(pins + self.tags.encode()).hexdigest()[:12]
        system, machine = platform_name()
        name = f"{self.name}-{digest}-{system}-{machine}"
        return default_cache_dir() / "node" / name

    def is_built(self) -> bool:
        return all(os.access(self.target() / name, os.X_OK) for name in self.packages)


_CONTAINERD_CMD = "github.com/containerd/containerd/v2/cmd"
_CONTAINERD = _Module(
    "containerd",
    _HERE / "modules" / "containerd",
    {
        name: f"{_CONTAINERD_CMD}/{name}"
        for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    },
    tags="no_btrfs no_devmapper no_zfs",
)
_MODULES = (
    _Module(
        f"kubernetes-{KUBERNETES_VERSION}",
        _KUBERNETES,
        {name: kubernetes_package(name) for name in ("kubelet", "kube-proxy")},
        ldflags=version_flags(),
    ),
    _CONTAINERD,
    _Module("coredns", _HERE / "modules" / "coredns", {"coredns": "github.com/coredns/coredns"}),
)
_PROMETHEUS = _Module(
    "prometheus",
    _HERE / "modules" / "prometheus",
    {"prometheus": "github.com/prometheus/prometheus/cmd/prometheus"},
    tags="remove_all_sd enable_kubernetes_sd",
)
"""Debian's package knows no service discovery of Kubernetes."""


@dataclass(frozen=True, slots=True)
class NodePrograms:
    """Where each program of a node and of its control plane is."""

    plane: Binaries
    folders: tuple[Path, ...]
    """Folders of the built programs, in the order they are looked for."""
    cni: Path

    def path(self, name: str) -> str:
        """Return a program's path. Raises KeyError for one that was never asked for."""
        for folder in self.folders:
            if (folder / name).exists():
                return str(folder / name)
        raise KeyError(name)

    def search_path(self) -> str:
        """Return PATH with the built programs first."""
        return os.pathsep.join([*map(str, self.folders), os.environ.get("PATH", os.defpath)])


async def fetch_programs(say: Say) -> NodePrograms:
    """Return every program, built where it was not yet.

    Raises ProgramsMissingError where the machine lacks one, BinariesUnavailableError as
    `fetch_binaries` does.
    """
    cni = _require_system()
    plane = await fetch_binaries(say)
    for module in _MODULES:
        _build(module, say)
    return NodePrograms(plane, tuple(module.target() for module in _MODULES), cni)


def find_ctr() -> str:
    """Return the path of containerd's client, which `fetch_programs` built."""
    return str(_CONTAINERD.target() / "ctr")


def fetch_prometheus(say: Say) -> Path:
    """Return a Prometheus that finds its targets by the API server, built where it was not yet.

    Raises ProgramsMissingError where it can't be built.
    """
    _build(_PROMETHEUS, say)
    return _PROMETHEUS.target() / "prometheus"


def _require_system() -> Path:
    """Return the folder of the CNI plugins; ProgramsMissingError names all that is missing."""
    packages = {package for name, package in SYSTEM_PROGRAMS.items() if shutil.which(name) is None}
    cni = next(
        (Path(f) for f in CNI_FOLDERS if all((Path(f) / name).exists() for name in CNI_PLUGINS)),
        None,
    )
    if cni is None:
        packages.add("containernetworking-plugins")
    if packages or cni is None:
        raise ProgramsMissingError(
            "a node needs programs that this machine lacks; Debian has them: "
            f"apt-get install {' '.join(sorted(packages))}"
        )
    return cni


def _build(module: _Module, say: Say) -> None:
    target = module.target()
    with exclusive(target, say):
        if module.is_built():
            return
        say(f"building {', '.join(module.packages)} with Go (minutes, once) ...")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as part:
            folder = Path(part) / "bin"
            folder.mkdir()
            try:
                build_programs(
                    module.folder, module.packages, folder, say,
                    ldflags=module.ldflags, tags=module.tags,
                )  # fmt: skip
            except (OSError, RuntimeError) as error:
                raise ProgramsMissingError(f"{module.name} can't be built: {error}") from error
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)
