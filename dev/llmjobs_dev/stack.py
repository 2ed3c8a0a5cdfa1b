"""The embedded stack: every part of llmjobs on this machine, on loopback, from one data folder.

It starts the parts in order, tells each step in the state file, keeps them running and ends them
in reverse order, also when a start breaks off half way. It must not know what users run on it.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from llmjobs_dev.binaries import Binaries, default_cache_dir, fetch_binaries
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.manifests import find_manifests
from llmjobs_dev.node.agent import NodeAgent
from llmjobs_dev.ports import find_free_ports, find_ports_again
from llmjobs_dev.process import Process, ProcessFailedError
from llmjobs_dev.role import Role
from llmjobs_dev.state import (
    Phase,
    StackState,
    Step,
    begin_step,
    describe_progress,
    end_step,
    read_state,
    write_state,
)
from llmjobs_dev.valkey import Valkey

_log = structlog.get_logger(__name__)

WORKER_IMAGE = "llmjobs-worker:dev"
LLAMA_IMAGE = "llmjobs-llama:dev"
OPERATOR_USER = "llmjobs-operator"
GATEWAY_USER = "llmjobs-gateway"
"""They have the rights of manifests/rbac and no others, so that a missing one shows here."""


def build_images() -> dict[str, list[str]]:
    """Return what the local node runs for each image."""
    models = default_cache_dir() / "models"
    llama = [sys.executable, "-m", "llmjobs_dev.llama_engine", "--models-dir", str(models)]
    return {WORKER_IMAGE: [sys.executable, "-m", "llmjobs_worker"], LLAMA_IMAGE: llama}


class Stack:
    """The stack in one data folder; whoever makes it holds the folder's lock."""

    def __init__(self, data_dir: Path, state: StackState) -> None:
        self._dir = data_dir
        self._logs = data_dir / "logs"
        self._state = state
        self._previous = read_state(data_dir)
        self._parts = AsyncExitStack()
        self._plane: ControlPlane | None = None
        self._valkey: Valkey | None = None
        self._operator_config = ""
        self._gateway_config = ""
        self._roles: list[Role] = []

    async def start(self) -> None:
        """Start every part. Raises what the part raised that failed; call `stop` then too."""
        async with self._step("kubernetes programs") as step:
            binaries = await fetch_binaries(self._teller(step))
            step.detail = f"from {binaries.source}"
        await self._start_valkey()
        await self._start_control_plane(binaries)
        await self._start_roles()
        self._state.phase = Phase.READY
        self._tell()

    async def stop(self) -> None:
        """End every part, the last started first."""
        self._state.phase = Phase.STOPPING
        self._tell()
        await self._parts.aclose()

    @asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[Step]:
        step = begin_step(self._state, name)
        try:
            yield step
        except BaseException:
            end_step(self._state, step, "failed")
            raise
        end_step(self._state, step)
        self._tell()

    def _teller(self, step: Step) -> Callable[[str], None]:
        loop = asyncio.get_running_loop()

        def say(text: str) -> None:
            _log.info("binaries", text=text)
            # It is called from the thread that builds.
            loop.call_soon_threadsafe(describe_progress, self._state, step, text)

        return say

    async def _begin(self, start: Awaitable[None], stop: Callable[[], Awaitable[None]]) -> None:
        """Start one part; it is ended at the end even if its start breaks off half way."""
        self._parts.push_async_callback(stop)
        await start

    async def _start_valkey(self) -> None:
        async with self._step("valkey"):
            (port,) = self._reuse_ports("redis_url")
            valkey = Valkey(self._dir / "valkey", self._logs / "valkey.log", port=port)
            self._valkey = valkey
            await self._begin(valkey.start(), valkey.stop)
            self._state.redis_url = valkey.url
            keeper = asyncio.create_task(self._keep_valkey(valkey), name="keep-valkey")
            self._parts.callback(keeper.cancel)

    def _reuse_ports(self, *names: str) -> list[int]:
        """Return the ports of the last start where they are free, so that addresses stay."""
        urls = [getattr(self._previous, name, "") for name in names]
        return find_ports_again([urlsplit(url).port or 0 for url in urls])

    async def _keep_valkey(self, valkey: Valkey) -> None:
        while True:
            await valkey.wait()
            _log.warning("valkey_ended")
            try:
                await valkey.start()
            except ProcessFailedError as error:
                _log.warning("valkey_not_started", error=str(error))
                await asyncio.sleep(1)
            self._tell()

    async def _start_control_plane(self, binaries: Binaries) -> None:
        folder = self._dir / "control-plane"
        async with self._step("control plane"):
            plane = ControlPlane(binaries, folder, log_dir=self._logs)
            self._plane = plane
            await self._begin(plane.start(), plane.stop)
            self._state.kubeconfig = str(plane.kubeconfig)
            self._operator_config = str(plane.kubeconfig_for("operator", user=OPERATOR_USER))
            self._gateway_config = str(plane.kubeconfig_for("gateway", user=GATEWAY_USER))
            self._state.kubectl = str(self._link_kubectl(plane.kubectl))
        async with self._step("node"):
            node = NodeAgent(plane, images=build_images(), log_dir=self._logs / "pods")
            await self._begin(node.start(), node.stop)
        async with self._step("custom resources"):
            crds = find_manifests() / "crds"
            await self._kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds))
            await self._kubectl("wait", "--for=condition=Established", "-f", str(crds))
            await self._kubectl("wait", "--for=create", "serviceaccount/default", "-n", "default")
            await self._kubectl("apply", "--server-side", "-f", str(find_manifests() / "rbac"))
            for part in ("", "-cluster", "-lease"):
                await self._bind(f"{OPERATOR_USER}{part}", OPERATOR_USER)
            await self._bind(f"{GATEWAY_USER}-durable", GATEWAY_USER)

    def _link_kubectl(self, target: str) -> Path:
        link = self._dir / "bin" / "kubectl"
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        return link

    async def _bind(self, role: str, user: str) -> None:
        """Give *user* the cluster role, as the chart does."""
        await self._kubectl("delete", "clusterrolebinding", role, "--ignore-not-found")
        await self._kubectl(
            "create", "clusterrolebinding", role, f"--clusterrole={role}", f"--user={user}"
        )

    async def _kubectl(self, *args: str) -> None:
        plane = self._plane
        if plane is None:
            raise RuntimeError("the control plane was not started")
        log = self._logs / "kubectl.log"
        config = ["--kubeconfig", str(plane.kubeconfig)]
        process = Process("kubectl", [plane.kubectl, *config, *args], log=log)
        await process.start()
        if await process.wait() != 0:
            raise ProcessFailedError(f"kubectl {' '.join(args[:2])} failed", log)

    async def _start_roles(self) -> None:
        (operator_port,) = find_free_ports(1)
        gateway_port, exporter_port = self._reuse_ports("gateway_url", "exporter_url")
        common = {"LLMJOBS_REDIS_URL": self._state.redis_url, "LLMJOBS_LOG_FORMAT": "console"}
        operator = {
            "KUBECONFIG": self._operator_config,
            "LLMJOBS_METRICS_PORT": str(operator_port),
            "LLMJOBS_WORKER_IMAGE": WORKER_IMAGE,
            "LLMJOBS_WORKER_LOG_FORMAT": "console",
        }
        await self._start_role("operator", "llmjobs_operator", common | operator, operator_port)
        gateway = {
            "LLMJOBS_PORT": str(gateway_port),
            "LLMJOBS_KUBECONFIG": self._gateway_config,
            "LLMJOBS_DURABLE_JOBS": "true",
        }
        await self._start_role("gateway", "llmjobs_api", common | gateway, gateway_port)
        self._state.gateway_url = f"http://127.0.0.1:{gateway_port}"
        exporter = {"LLMJOBS_PORT": str(exporter_port)}
        await self._start_role("exporter", "llmjobs_api.exporter", common | exporter, exporter_port)
        self._state.exporter_url = f"http://127.0.0.1:{exporter_port}/metrics"

    async def _start_role(self, name: str, module: str, env: dict[str, str], port: int) -> None:
        async with self._step(name):
            role = Role(
                name,
                module,
                env=env,
                ready_url=f"http://127.0.0.1:{port}/readyz",
                log=self._logs / f"{name}.log",
                changed=self._tell,
            )
            self._roles.append(role)
            await self._begin(role.start(), role.stop)

    def _tell(self) -> None:
        """Write the state with the process ids of now."""
        pids = {role.name: role.pid for role in self._roles}
        if self._valkey is not None:
            pids["valkey"] = self._valkey.pid
        if self._plane is not None:
            pids |= self._plane.pids
        self._state.pids = {name: pid for name, pid in pids.items() if pid}
        write_state(self._state)
