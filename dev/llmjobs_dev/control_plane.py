"""A real Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler.

One data folder holds it all, so that a second start finds its objects again. Ports are free ones,
so the kubeconfigs are written anew at each start. Must know nothing of llmjobs' own resources.
"""

import asyncio
import ipaddress
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from llmjobs_dev.binaries import Binaries
from llmjobs_dev.certificates import Authority, KeyPair
from llmjobs_dev.kubeconfig import write_kubeconfig
from llmjobs_dev.ports import find_free_ports
from llmjobs_dev.process import Process, ProcessFailedError

START_TIMEOUT_S = 120.0
RESTART_DELAY_S = 1.0
NODE_NAME = "local"
LOOPBACK = "127.0.0.1"
SERVICE_NETWORK = "10.96.0.0/16"

ADMINS = "system:masters"


class ControlPlane:
    """Starts, watches and stops the four processes."""

    def __init__(
        self,
        binaries: Binaries,
        data_dir: Path,
        *,
        with_controllers: bool = True,
        log_dir: Path | None = None,
        address: str = LOOPBACK,
        services: str = SERVICE_NETWORK,
    ) -> None:
        """*address* is where pods reach the API server; loopback where there are none."""
        self._address = address
        self._services = services
        self._binaries = binaries
        self._dir = data_dir
        self._with_controllers = with_controllers
        self.log_dir = log_dir or data_dir / "logs"
        self.authority = Authority(data_dir / "certificates")
        self._processes: dict[str, Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._restarted = asyncio.Event()
        self.server = ""
        self.etcd_url = ""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._dir / "kubeconfig"

    @property
    def kubectl(self) -> str:
        """The path of a kubectl of the same version."""
        return self._binaries.path("kubectl")

    @property
    def pids(self) -> Mapping[str, int]:
        """Process ids by program."""
        return {name: process.pid for name, process in self._processes.items()}

    @property
    def processes(self) -> Mapping[str, Process]:
        """The running programs by name."""
        return self._processes

    def kubeconfig_for(
        self, name: str, *, user: str, groups: tuple[str, ...] = (), server: str | None = None
    ) -> Path:
        """Return a kubeconfig for *user*, with the rights that RBAC gives it.

        *server* is for a way to the API server that is not the straight one.
        """
        pair = self.authority.issue(name, user=user, groups=groups)
        path = self._dir / f"{name}.kubeconfig"
        write_kubeconfig(
            path, server=server or self.server, authority=self.authority.certificate, pair=pair
        )
        return path

    async def start(self) -> None:
        """Start everything; returns when the API server is ready.

        Raises ProcessFailedError with the log of the program that failed.
        """
        etcd_port, peer_port, api_port = find_free_ports(3)
        self.server = f"https://{self._address}:{api_port}"
        self.etcd_url = f"http://127.0.0.1:{etcd_port}"
        admin = self.authority.issue("admin", user="llmjobs-dev", groups=(ADMINS,))
        write_kubeconfig(
            self.kubeconfig, server=self.server, authority=self.authority.certificate, pair=admin
        )
        await self._start("etcd", self._etcd_flags(etcd_port, peer_port))
        await self._start("kube-apiserver", self._apiserver_flags(etcd_port, api_port))
        await self._wait_until_ready(admin)
        if self._with_controllers:
            await asyncio.gather(
                self._start("kube-controller-manager", self._controller_flags()),
                self._start("kube-scheduler", self._scheduler_flags()),
            )
        self._keepers = [asyncio.create_task(self._keep(name)) for name in self._processes]

    async def _keep(self, program: str) -> None:
        """Start the program again whenever it ends, as a kubelet does with static pods."""
        while True:
            process = self._processes[program]
            await process.wait()
            await asyncio.sleep(RESTART_DELAY_S)
            await self._start(program, process.argv[1:])
            self._restarted.set()

    async def restart_api_server(self) -> None:
        """Kill the API server; return when it is back on the same port."""
        await self._restart("kube-apiserver")

    async def restart_etcd(self) -> None:
        """Kill etcd; return when it is back on the same port and the API server is ready."""
        await self._restart("etcd")

    async def _restart(self, program: str) -> None:
        process = self._processes[program]
        self._restarted.clear()
        process.kill_group()
        await self._restarted.wait()
        admin = self.authority.issue("admin", user="llmjobs-dev", groups=(ADMINS,))
        await self._wait_until_ready(admin)

    async def stop(self) -> None:
        """Stop everything, etcd last."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        order = ["kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"]
        for name in order:
            process = self._processes.get(name)
            if process is not None:
                await process.stop(grace_s=5)

    async def _start(self, program: str, flags: list[str]) -> None:
        process = Process(
            program,
            [self._binaries.path(program), *flags],
            log=self.log_dir / f"{program}.log",
        )
        self._processes[program] = process
        await process.start()

    def _etcd_flags(self, port: int, peer_port: int) -> list[str]:
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
        return [
            f"--data-dir={self._dir / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=local={peer}",
            # A crash of the machine may cost this stack its data; a slow disk must not cost time.
            "--unsafe-no-fsync",
            "--name=local",
            "--log-level=warn",
        ]

    def _apiserver_flags(self, etcd_port: int, port: int) -> list[str]:
        first = str(next(ipaddress.ip_network(self._services).hosts()))
        serving = self.authority.issue(
            "apiserver", user="kube-apiserver", addresses=(self._address, first)
        )
        kubelet = self.authority.issue(
            "apiserver-kubelet-client", user="kube-apiserver-kubelet-client", groups=(ADMINS,)
        )
        tokens = self.authority.signing_key("service-accounts")
        return [
            f"--etcd-servers=http://127.0.0.1:{etcd_port}",
            f"--bind-address={self._address}",
            f"--secure-port={port}",
            f"--advertise-address={self._address}",
            # No endpoint may be on loopback.
            f"--endpoint-reconciler-type={'none' if self._address == LOOPBACK else 'lease'}",
            f"--service-cluster-ip-range={self._services}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.authority.certificate}",
            f"--kubelet-certificate-authority={self.authority.certificate}",
            f"--kubelet-client-certificate={kubelet.certificate}",
            f"--kubelet-client-key={kubelet.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={tokens}",
            f"--service-account-signing-key-file={tokens}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--profiling=false",
        ]

    def _controller_flags(self) -> list[str]:
        name = "kube-controller-manager"
        config = self.kubeconfig_for(name, user=f"system:{name}")
        return [
            f"--kubeconfig={config}",
            "--leader-elect=false",
            "--secure-port=0",
            "--use-service-account-credentials=true",
            f"--root-ca-file={self.authority.certificate}",
            f"--service-account-private-key-file={self.authority.signing_key('service-accounts')}",
            "--profiling=false",
        ]

    def _scheduler_flags(self) -> list[str]:
        config = self.kubeconfig_for("kube-scheduler", user="system:kube-scheduler")
        return [f"--kubeconfig={config}", "--leader-elect=false", "--secure-port=0"]

    async def _wait_until_ready(self, admin: KeyPair) -> None:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        context.load_cert_chain(admin.certificate, admin.key)
        deadline = time.monotonic() + START_TIMEOUT_S
        timeout = aiohttp.ClientTimeout(total=3)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                for process in self._processes.values():
                    if process.exit_code is not None and not self._keepers:
                        raise ProcessFailedError(
                            f"{process.name} ended with status {process.exit_code}", process.log
                        )
                try:
                    async with session.get(f"{self.server}/readyz", ssl=context) as response:
                        if response.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                if time.monotonic() > deadline:
                    log = self._processes["kube-apiserver"].log
                    raise ProcessFailedError("the API server is not ready", log)
                await asyncio.sleep(0.1)
