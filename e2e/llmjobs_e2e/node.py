"""The first process inside a node's namespaces: starts all of a cluster and keeps it running.

``python -m llmjobs_e2e.node FOLDER INDEX ARCHIVE...`` waits for one line on its standard input: by
then the link to the machine is there. It writes ``ready`` into FOLDER when the node's programs run.
Whatever it made ends with it: processes, mounts, links and rules belong to its namespaces.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmjobs_dev.control_plane import ADMINS, ControlPlane
from llmjobs_dev.process import Process, ProcessFailedError
from llmjobs_e2e.node_files import (
    BRIDGE,
    NODE_NAME,
    Network,
    NodeFolders,
    build_cni_config,
    build_containerd_config,
    build_corefile,
    build_kubelet_config,
    write_files,
)
from llmjobs_e2e.programs import NodePrograms, fetch_programs

UPLINK = "uplink"
READY = "ready"
_RESTART_DELAY_S = 1.0
_START_TIMEOUT_S = 60.0


def run(*argv: str) -> None:
    """Run a command; RuntimeError with what it said if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


def shield_machine(folder: Path) -> None:
    """Keep what programs write into fixed places of /var and /run in *folder* instead."""
    for place in ("var", "run"):
        upper, work = folder / "overlays" / place, folder / "overlays" / f"{place}-work"
        upper.mkdir(parents=True)
        work.mkdir()
        options = f"lowerdir=/{place},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", options, f"/{place}")
    # Volumes that the kubelet mounts must be seen in containers.
    run("mount", "--make-rshared", "/")


def build_network(network: Network) -> None:
    """Bring up the links of this network namespace."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{network.node_end}/30", "dev", UPLINK)
    run("ip", "link", "set", UPLINK, "up")
    run("ip", "route", "add", "default", "via", network.machine_end)
    # Before the API server starts, since this is its address.
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{network.node}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


def import_images(ctr: str, socket: Path, archives: Sequence[Path]) -> None:
    """Give containerd the images in *archives*. Raises RuntimeError."""
    for archive in archives:
        place = ("--address", str(socket), "--namespace", "k8s.io")
        run(ctr, *place, "images", "import", "--local", str(archive))


class Node:
    """A control plane and one node, each program started again whenever it ends."""

    def __init__(self, folder: Path, network: Network, programs: NodePrograms) -> None:
        self._folders = NodeFolders(folder)
        self._network = network
        self._programs = programs
        self._plane = ControlPlane(
            programs.plane,
            self._folders.plane,
            log_dir=self._folders.logs,
            address=network.node,
            services=network.services,
        )
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self, archives: list[Path]) -> None:
        """Start everything, images imported. Raises ProcessFailedError or RuntimeError."""
        folders = self._folders
        write_files(
            folders,
            {
                "containerd.toml": build_containerd_config(folders, self._programs.cni),
                "cni/10-llmjobs.conflist": build_cni_config(folders, self._network),
                "resolv.conf": "",
            },
        )
        folders.socket.parent.mkdir()
        await self._start("containerd", "--config", str(folders.files / "containerd.toml"))
        await self._wait_for_socket()
        await asyncio.gather(
            asyncio.to_thread(
                import_images, self._programs.path("ctr"), self._folders.socket, archives
            ),
            self._plane.start(),
        )
        await self._start_kubelet()
        proxy = self._plane.kubeconfig_for("kube-proxy", user="system:kube-proxy")
        await self._start(
            "kube-proxy", f"--kubeconfig={proxy}", f"--hostname-override={NODE_NAME}",
            f"--cluster-cidr={self._network.pods}", "--proxy-mode=iptables",
            # Of the machine, and not to be changed.
            "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        )  # fmt: skip
        dns = self._plane.kubeconfig_for("coredns", user="coredns", groups=(ADMINS,))
        write_files(folders, {"Corefile": build_corefile(dns, self._network)})
        await self._start("coredns", "-conf", str(folders.files / "Corefile"))

    async def _start_kubelet(self) -> None:
        folders, authority = self._folders, self._plane.authority
        serving = authority.issue(
            "kubelet-serving", user="kubelet", addresses=(self._network.node,)
        )
        config = build_kubelet_config(
            folders, self._network, serving.certificate, serving.key, authority.certificate
        )
        write_files(folders, {"kubelet.yaml": config})
        kubeconfig = self._plane.kubeconfig_for(
            "kubelet", user=f"system:node:{NODE_NAME}", groups=("system:nodes",)
        )
        await self._start(
            "kubelet", f"--config={folders.files / 'kubelet.yaml'}", f"--kubeconfig={kubeconfig}",
            f"--root-dir={folders.kubelet}", f"--hostname-override={NODE_NAME}",
            f"--node-ip={self._network.node}",
        )  # fmt: skip

    async def _start(self, program: str, *flags: str) -> None:
        process = Process(
            program,
            [self._programs.path(program), *flags],
            log=self._folders.logs / f"{program}.log",
            env=self._environment(),
        )
        await process.start()
        self._keepers.append(asyncio.create_task(_keep(process)))

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "PATH": self._programs.search_path()}

    async def _wait_for_socket(self) -> None:
        """The kubelet ends where containerd does not answer."""
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(self._folders.socket)
            except OSError as error:
                if time.monotonic() > deadline_s:
                    log = self._folders.logs / "containerd.log"
                    raise ProcessFailedError("containerd does not answer", log) from error
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def _keep(process: Process) -> None:
    """Start it again whenever it ends, as an init system does."""
    while True:
        await process.wait()
        await asyncio.sleep(_RESTART_DELAY_S)
        await process.start()


async def serve(folder: Path, network: Network, archives: list[Path]) -> None:
    """Start the node, say so, and stay."""
    programs = await fetch_programs(lambda text: print(text, flush=True))
    node = Node(folder, network, programs)
    await node.start(archives)
    (folder / READY).touch()
    await asyncio.Event().wait()


def main() -> None:
    """Wait for the link, then run until killed."""
    folder, network = Path(sys.argv[1]), Network(int(sys.argv[2]))
    sys.stdin.readline()
    shield_machine(folder)
    build_network(network)
    asyncio.run(serve(folder, network, [Path(name) for name in sys.argv[3:]]))


if __name__ == "__main__":
    main()
