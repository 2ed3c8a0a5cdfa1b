"""The namespaces that a node lives in: made by `unshare`, gone with its process.

Processes, mounts, links, routes and iptables rules of the node are in namespaces of their own, so
the kernel takes them away when the first process ends, however it ends. What it can't take away are
control groups: `remove_cgroups` does.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from llmjobs_dev.process import die_with_parent
from llmjobs_e2e.node import UPLINK, run
from llmjobs_e2e.node_files import Network

_CGROUPS = Path("/sys/fs/cgroup")
_TIMEOUT_S = 60.0
_MODULE = "llmjobs_e2e.node"
_MOST = 20


class NoRootError(PermissionError):
    """The machine's root is needed; the message says what for."""


def require_root() -> None:
    """Raise NoRootError unless this process may make namespaces, links and mounts."""
    if sys.platform != "linux":
        raise NoRootError("a node runs on Linux only; E2E_KUBECONFIG names a cluster elsewhere")
    if os.geteuid() != 0:
        raise NoRootError(
            "make e2e needs root: it makes namespaces, a network link, mounts and control groups. "
            "Run it as root, or name an existing cluster in E2E_KUBECONFIG."
        )


class Sandbox:
    """One node's process and the machine's end of its link."""

    def __init__(
        self, network: Network, pid: int, *, holder: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.network = network
        self.pid = pid
        """Of the process that holds the namespaces; its end is the node's end."""
        self._holder = holder
        """The same, where it is a child of ours."""

    @property
    def is_running(self) -> bool:
        """Whether the node's process is there, and its number not another's by now."""
        try:
            return _MODULE.encode() in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False

    def kill(self) -> None:
        """End the node with all that it made; returns when that is gone."""
        inside: list[int] = []
        if self.is_running:
            inside = list_descendants(self.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        if self._holder is not None:
            self._holder.wait()
        deadline_s = time.monotonic() + _TIMEOUT_S
        while self.is_running or any(Path(f"/proc/{pid}").exists() for pid in inside):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"process {self.pid} or one of {inside} does not go")
            time.sleep(0.05)
        self._disconnect()
        remove_cgroups(self.network)

    def _disconnect(self) -> None:
        """Remove the link.

        The kernel does so with the namespace, but keeps that for as long as a connection of a dead
        process waits for its peer, which is dead as well: a minute.
        """
        link = self.network.link
        if (Path("/sys/class/net") / link).exists():
            with contextlib.suppress(RuntimeError):  # gone by now
                run("ip", "link", "delete", link)

    def find(self, program: str) -> int:
        """Return the process id of one of the node's programs. Raises ProcessLookupError."""
        for pid in list_descendants(self.pid):
            with contextlib.suppress(OSError):
                argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if Path(argv[0].decode()).name == program:
                    return pid
        raise ProcessLookupError(program)

    def kill_program(self, program: str) -> None:
        """SIGKILL one of the node's programs, which is then started again."""
        os.kill(self.find(program), signal.SIGKILL)


def list_descendants(pid: int) -> list[int]:
    """Return the processes below *pid*, the nearest first."""
    found, fresh = [], [pid]
    while fresh:
        parent = fresh.pop(0)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                children = [int(word) for word in (task / "children").read_text().split()]
                found += children
                fresh += children
    return found


def start_sandbox(folder: Path, archives: list[Path], *, detached: bool = False) -> Sandbox:
    """Start a node in *folder*; it ends with us unless *detached*.

    Returns before it is ready. Raises RuntimeError where the machine does not allow it.
    """
    log = folder / "node.log"
    inner = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]
    network = _claim_network()
    argv = [sys.executable, "-m", _MODULE, str(folder), str(network.index)]
    with log.open("ab") as out:
        holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--", *inner, *argv, *map(str, archives)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            start_new_session=True,
            preexec_fn=None if detached else die_with_parent,  # noqa: PLW1509 - it calls prctl only
        )
    try:
        _wait_for_namespace(holder)
        _connect(network, holder.pid)
        _make_cgroups(network)
        assert holder.stdin is not None
        holder.stdin.write(b"go\n")
        holder.stdin.close()
    except BaseException:
        holder.kill()
        holder.wait()
        raise
    return Sandbox(network, holder.pid, holder=holder)


def _claim_network() -> Network:
    for index in range(_MOST):
        network = Network(index)
        if not (Path("/sys/class/net") / network.link).exists():
            return network
    raise RuntimeError(f"{_MOST} clusters run here already")


def _wait_for_namespace(holder: subprocess.Popen[bytes]) -> None:
    ours, theirs = Path("/proc/self/ns/net").readlink(), Path(f"/proc/{holder.pid}/ns/net")
    deadline_s = time.monotonic() + _TIMEOUT_S
    while theirs.readlink() == ours:
        if holder.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError("unshare made no network namespace: may this process do so?")
        time.sleep(0.01)


def _connect(network: Network, pid: int) -> None:
    run(
        "ip", "link", "add", network.link, "type", "veth",
        "peer", "name", UPLINK, "netns", str(pid),
    )  # fmt: skip
    run("ip", "address", "add", f"{network.machine_end}/30", "dev", network.link)
    run("ip", "link", "set", network.link, "up")
    run("ip", "route", "add", network.everything, "via", network.node_end)


def hierarchies() -> list[Path]:
    """Return the roots of control groups: one in version 2, one a controller in version 1."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [path for path in _CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def _make_cgroups(network: Network) -> None:
    for root in hierarchies():
        (root / network.cgroup).mkdir(exist_ok=True)


def list_cgroups(network: Network) -> list[Path]:
    """Return the node's control groups, the deepest last."""
    tops = [root / network.cgroup for root in hierarchies()]
    return [
        path
        for top in tops
        if top.exists()
        for path in [top, *sorted(p for p in top.rglob("*") if p.is_dir())]
    ]


def remove_cgroups(network: Network) -> None:
    """Remove the node's control groups, once no process is in them."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while True:
        left = list_cgroups(network)
        for path in reversed(left):
            with contextlib.suppress(OSError):  # busy while its last process ends
                path.rmdir()
        if not left:
            return
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"control groups are left: {left[0]}")
        time.sleep(0.05)


def remove_folder(folder: Path) -> None:
    """Remove what the node wrote, if that was not done."""
    if folder.exists():
        shutil.rmtree(folder)
