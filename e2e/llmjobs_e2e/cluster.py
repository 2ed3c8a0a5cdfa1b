"""One cluster with a real node: started with its images, and taken away without a trace."""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmjobs_dev.binaries import default_cache_dir
from llmjobs_dev.go_build import Say
from llmjobs_e2e.image_builds import build_archives
from llmjobs_e2e.node import READY, import_images
from llmjobs_e2e.node_files import NODE_NAME, Network, NodeFolders
from llmjobs_e2e.programs import find_ctr
from llmjobs_e2e.sandbox import Sandbox, remove_folder, require_root, start_sandbox

_READY_TIMEOUT_S = 180.0


class ClusterFailedError(RuntimeError):
    """The cluster did not come up; the message names the logs to read."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that runs here: its node's sandbox, its files."""

    sandbox: Sandbox
    folder: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return NodeFolders(self.folder).plane / "kubeconfig"

    @property
    def logs(self) -> Path:
        """The logs of the programs of control plane and node."""
        return NodeFolders(self.folder).logs

    def add_images(self, archives: Sequence[Path]) -> None:
        """Give the node more images than it started with. Raises RuntimeError."""
        import_images(find_ctr(), NodeFolders(self.folder).socket, archives)

    def stop(self) -> None:
        """End it and remove all that it made."""
        self.sandbox.kill()
        remove_folder(self.folder)
        _state_file().unlink(missing_ok=True)


def start_cluster(say: Say, *, keep: bool = False) -> Cluster:
    """Start a cluster whose node is ready and has all images.

    It ends with us unless it is to be kept. Raises NoRootError, ProgramsMissingError,
    ClusterFailedError or RuntimeError, each with what to do.
    """
    require_root()
    archives = build_archives(say)
    started_s = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="llmjobs-e2e-"))
    sandbox = start_sandbox(folder, archives, detached=keep)
    cluster = Cluster(sandbox, folder)
    try:
        _wait(cluster, (folder / READY).exists, "the node's programs run")
        _wait(cluster, lambda: _is_ready(cluster), "the node is ready")
    except BaseException:
        cluster.stop()
        raise
    if keep:
        state = {"pid": sandbox.pid, "index": sandbox.network.index, "folder": str(folder)}
        _state_file().write_text(json.dumps(state), encoding="utf-8")
    say(f"a cluster with a node is up in {time.monotonic() - started_s:.0f} s: {folder}")
    return cluster


def find_kept() -> Cluster | None:
    """Return the cluster that ``up --keep`` left running; remove what an ended one left."""
    try:
        state = json.loads(_state_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    sandbox = Sandbox(Network(state["index"]), state["pid"])
    cluster = Cluster(sandbox, Path(state["folder"]))
    if sandbox.is_running:
        return cluster
    cluster.stop()
    return None


def _state_file() -> Path:
    return default_cache_dir() / "node" / "kept.json"


def _is_ready(cluster: Cluster) -> bool:
    argv = [
        "get",
        "node",
        NODE_NAME,
        "-o",
        "jsonpath={.status.conditions[?(@.type=='Ready')].status}",
    ]
    done = subprocess.run(
        [str(find_kubectl()), "--kubeconfig", str(cluster.kubeconfig), *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout == "True"


def find_kubectl() -> Path:
    """Return the kubectl of the control plane's version, which `fetch_binaries` put there."""
    found = sorted((default_cache_dir() / "kubernetes").glob("*/kubectl"))
    return found[-1]


def _wait(cluster: Cluster, check: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while not check():
        if not cluster.sandbox.is_running or time.monotonic() > deadline_s:
            log = cluster.folder / "node.log"
            last = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ClusterFailedError(f"not reached: {what}. {log}, {cluster.logs}:\n{last}")
        time.sleep(0.1)
