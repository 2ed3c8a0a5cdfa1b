"""What a cluster could leave behind on the machine, to compare before and after."""

import contextlib
import subprocess
from collections import Counter
from pathlib import Path

from llmjobs_e2e.sandbox import hierarchies

_PROGRAMS = frozenset(
    {
        "containerd", "containerd-shim-runc-v2", "coredns", "etcd", "kube-apiserver",
        "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet", "runc",
    }
)  # fmt: skip
_PLACES = ("/etc/cni", "/run/containerd", "/run/netns", "/var/lib/cni", "/var/lib/kubelet")


def take_inventory() -> dict[str, Counter[str]]:
    """Return what is there now, by kind: cluster programs, mounts, links, rules, groups, files."""
    return {
        "programs": Counter(_list_programs()),
        "mounts": Counter(_list_mounts()),
        "links": Counter(path.name for path in Path("/sys/class/net").iterdir()),
        "routes": Counter(_lines("ip", "route")),
        "rules": Counter(_list_rules()),
        "control groups": Counter(
            str(path) for root in hierarchies() for path in root.glob("llmjobs-*")
        ),
        "places": Counter(place for place in _PLACES if Path(place).exists()),
    }


def find_left_behind(before: dict[str, Counter[str]]) -> dict[str, list[str]]:
    """Return what is there now, and was not *before*: a cluster of ours has left it behind."""
    now = take_inventory()
    left = {kind: sorted((found - before[kind]).elements()) for kind, found in now.items()}
    return {kind: names for kind, names in left.items() if names}


def _list_programs() -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            if folder.name.isdecimal():
                argv = (folder / "cmdline").read_bytes().split(b"\0")
                name = Path(argv[0].decode(errors="replace")).name
                if name in _PROGRAMS and any(b"llmjobs-e2e-" in word for word in argv):
                    found.append(name)
    return found


def _list_mounts() -> list[str]:
    text = Path("/proc/self/mounts").read_text(encoding="utf-8")
    return [line.split()[1] for line in text.splitlines()]


def _list_rules() -> list[str]:
    rules = [*_lines("iptables-save"), *_lines("ip6tables-save")]
    return [line for line in rules if line.startswith("-A")]


def _lines(*argv: str) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()
