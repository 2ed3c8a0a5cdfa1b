"""One pod: its containers in order, its status told to the API server, its orderly end."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from llmjobs_dev.node.api import ApiError, NodeApi
from llmjobs_dev.node.container import ContainerRunner, timestamp
from llmjobs_dev.node.pod_spec import Lookup, referenced_names
from llmjobs_dev.node.pod_status import build_pod_status

_log = structlog.get_logger(__name__)

_TELL_EVERY_S = 0.1
"""Changes within this time are told together."""


class PodRunner:
    """Runs one pod (by UID) from its first sight until its processes have ended."""

    def __init__(
        self,
        pod: Mapping[str, Any],
        api: NodeApi,
        *,
        pod_ip: str,
        images: Mapping[str, Sequence[str]],
        log_dir: Path,
    ) -> None:
        self.pod = dict(pod)
        self.pod_ip = pod_ip
        self._api = api
        self._started_at = timestamp()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        meta, spec = pod["metadata"], pod["spec"]
        folder = log_dir / f"{meta['namespace']}_{meta['name']}"

        def runner(container: Mapping[str, Any], is_init: bool) -> ContainerRunner:
            return ContainerRunner(
                container,
                pod,
                pod_ip=pod_ip,
                is_init=is_init,
                images=images,
                log=folder / f"{container['name']}.log",
                fetch_lookup=self._fetch_lookup,
                changed=self._changed.set,
            )

        self._inits = [runner(c, True) for c in spec.get("initContainers") or []]
        self._mains = [runner(c, False) for c in spec["containers"]]

    @property
    def containers(self) -> list[ContainerRunner]:
        """Every container, in the order they start."""
        return [*self._inits, *self._mains]

    def start(self) -> None:
        """Begin to run it."""
        self._tasks = [
            asyncio.create_task(self._tell()),
            asyncio.create_task(self._run_containers()),
        ]
        self._changed.set()

    async def _run_containers(self) -> None:
        async with asyncio.TaskGroup() as group:
            for container in self._inits:
                running = group.create_task(container.run())
                if container.state.is_sidecar:
                    await container.started.wait()
                else:
                    await running
                    if container.state.exit_code != 0:
                        return
            for container in self._mains:
                container.state.waiting_reason = "ContainerCreating"
                group.create_task(container.run())

    async def _fetch_lookup(self) -> Lookup:
        namespace = self.pod["metadata"]["namespace"]
        secret_names, map_names = referenced_names(self.pod)

        async def fetch(kind: str, names: set[str]) -> dict[str, dict[str, str]]:
            found = {name: await self._fetch(kind, namespace, name) for name in names}
            return {name: values for name, values in found.items() if values is not None}

        return Lookup(await fetch("secrets", secret_names), await fetch("configmaps", map_names))

    async def _fetch(self, kind: str, namespace: str, name: str) -> dict[str, str] | None:
        while True:
            try:
                return await self._api.fetch_values(kind, namespace, name)
            except ApiError:
                await asyncio.sleep(1)

    async def _tell(self) -> None:
        """Write the status whenever it changed, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._api.put_pod_status(self.pod, self._build_status())
            except ApiError as error:
                _log.warning("pod_status_not_written", pod=self._name, error=str(error))
                await asyncio.sleep(1)
                self._changed.set()
            await asyncio.sleep(_TELL_EVERY_S)

    def _build_status(self) -> dict[str, Any]:
        states = [container.state for container in self.containers]
        status = build_pod_status(
            self.pod, states, pod_ip=self.pod_ip, started_at=self._started_at, now=timestamp()
        )
        self.pod = {**self.pod, "status": status}
        return status

    @property
    def _name(self) -> str:
        return f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}"

    async def stop(self, grace_s: float, *, forget: bool = False) -> None:
        """End its processes, sidecars after the rest; then remove the pod unless *forget*.

        Harmless when repeated.
        """
        if self._stopping:
            return
        self._stopping = True
        deadline = asyncio.get_running_loop().time() + grace_s

        async def end(containers: Sequence[ContainerRunner]) -> None:
            left = deadline - asyncio.get_running_loop().time()
            await asyncio.gather(*(container.stop(left) for container in containers))

        sidecars = [c for c in self._inits if c.state.is_sidecar]
        await end([c for c in self.containers if c not in sidecars])
        for sidecar in reversed(sidecars):
            await end([sidecar])
        await self._end_tasks()
        if not forget:
            await self._until_told(self._api.remove_pod)

    async def _until_told(self, call: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        while True:
            try:
                await call(self.pod)
            except ApiError as error:
                _log.warning("pod_not_removed", pod=self._name, error=str(error))
                await asyncio.sleep(1)
            else:
                return

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
