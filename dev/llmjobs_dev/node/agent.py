"""The node agent: a Node object with a heartbeat, and the pods bound to it kept running."""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from llmjobs_dev.control_plane import NODE_NAME, ControlPlane
from llmjobs_dev.node.addresses import PodAddresses
from llmjobs_dev.node.api import MERGE_PATCH, ApiError, NodeApi
from llmjobs_dev.node.container import timestamp
from llmjobs_dev.node.logs_server import start_logs_server
from llmjobs_dev.node.pod import PodRunner

_log = structlog.get_logger(__name__)

HEARTBEAT_S = 10.0
LEASE_S = 40
"""A kubelet's own values."""
_RETRY_S = 0.5


def build_node(name: str, logs_port: int) -> dict[str, Any]:
    """Return the Node object: what the scheduler and the API server need to know."""
    capacity = {
        "cpu": str(max(16, os.cpu_count() or 1)),
        "memory": "64Gi",
        "pods": "250",
        "ephemeral-storage": "100Gi",
    }
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64" if os.uname().machine == "x86_64" else "arm64",
    }
    now = timestamp()
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": logs_port}},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "NodeReady",
                    "message": "pods run as processes of this machine",
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                }
            ],
            "nodeInfo": {
                "architecture": labels["kubernetes.io/arch"],
                "operatingSystem": "linux",
                "kubeletVersion": "llmjobs-dev",
                "containerRuntimeVersion": "process://1",
                "osImage": "",
                "kernelVersion": os.uname().release,
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kubeProxyVersion": "",
            },
        },
    }


class NodeAgent:
    """Runs on one event loop; give it the running control plane and what images stand for."""

    def __init__(
        self,
        plane: ControlPlane,
        *,
        images: Mapping[str, Sequence[str]],
        log_dir: Path,
        name: str = NODE_NAME,
    ) -> None:
        self._plane = plane
        self._images = images
        self._log_dir = log_dir
        self._name = name
        self._pair = plane.authority.issue(
            f"node-{name}", user=f"system:node:{name}", groups=("system:nodes",)
        )
        self._api = NodeApi(plane.server, str(plane.authority.certificate), self._pair, name)
        self._pods: dict[str, PodRunner] = {}
        self._ends: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._addresses = PodAddresses()
        self._logs: web.AppRunner | None = None

    @property
    def pods(self) -> Mapping[str, PodRunner]:
        """The pods that run here, by UID."""
        return self._pods

    async def start(self) -> None:
        """Register the node and begin to run its pods. Raises ApiError."""
        await self._api.open()
        self._logs, port = await start_logs_server(
            self._find_log, self._pair, self._plane.authority.certificate
        )
        await self._register(build_node(self._name, port))
        self._tasks = [
            asyncio.create_task(self._beat()),
            asyncio.create_task(self._follow()),
        ]

    async def stop(self) -> None:
        """End every pod's processes in order; the objects stay, to be run again at a next start."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(pod.stop(10, forget=True) for pod in self._pods.values()))
        for end in self._ends.values():
            end.cancel()
        await asyncio.gather(*self._ends.values(), return_exceptions=True)
        if self._logs is not None:
            await self._logs.cleanup()
        await self._api.close()
        self._addresses.release()

    async def _register(self, node: dict[str, Any]) -> None:
        try:
            await self._api.call("POST", "/api/v1/nodes", node)
        except ApiError as error:
            if error.status != 409:
                raise
        path = f"/api/v1/nodes/{self._name}/status"
        await self._api.call("PATCH", path, {"status": node["status"]}, kind=MERGE_PATCH)

    async def _beat(self) -> None:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        while True:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            spec = {
                "holderIdentity": self._name,
                "leaseDurationSeconds": LEASE_S,
                "renewTime": now,
            }
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name, "namespace": "kube-node-lease"},
                "spec": spec,
            }
            try:
                try:
                    patch = {"spec": spec}
                    await self._api.call("PATCH", f"{path}/{self._name}", patch, kind=MERGE_PATCH)
                except ApiError as error:
                    if error.status != 404:
                        raise
                    await self._api.call("POST", path, lease)
            except ApiError as error:
                _log.warning("node_heartbeat_failed", error=str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                await asyncio.sleep(HEARTBEAT_S)

    async def _follow(self) -> None:
        """List and watch this node's pods for ever; whatever breaks is begun again."""
        while True:
            try:
                pods, version = await self._api.list_pods()
                present = {pod["metadata"]["uid"] for pod in pods}
                for pod in pods:
                    self._see(pod)
                for uid in set(self._pods) - present:
                    self._drop(uid)
                async for kind, pod in self._api.watch_pods(version):
                    if kind in {"ADDED", "MODIFIED"}:
                        self._see(pod)
                    elif kind == "DELETED":
                        self._drop(pod["metadata"]["uid"])
            except ApiError as error:
                _log.info("node_watch_again", reason=str(error))
                await asyncio.sleep(_RETRY_S)

    def _see(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        ended = (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
        deleted = pod["metadata"].get("deletionTimestamp")
        if deleted:
            grace_s = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
            self._end(uid, pod, grace_s)
        elif uid not in self._pods and uid not in self._ends and not ended:
            runner = PodRunner(
                pod,
                self._api,
                pod_ip=self._addresses.pick({runner.pod_ip for runner in self._pods.values()}),
                images=self._images,
                log_dir=self._log_dir,
            )
            self._pods[uid] = runner
            runner.start()

    def _drop(self, uid: str) -> None:
        """The object is gone (a forced deletion): its processes must go at once."""
        runner = self._pods.get(uid)
        if runner is not None:
            self._end(uid, runner.pod, 0)

    def _end(self, uid: str, pod: dict[str, Any], grace_s: float) -> None:
        if uid in self._ends:
            return
        runner = self._pods.pop(uid, None)
        work = runner.stop(grace_s) if runner else self._remove(pod)
        task = asyncio.create_task(work)
        self._ends[uid] = task
        task.add_done_callback(lambda _: self._ends.pop(uid, None))

    async def _remove(self, pod: dict[str, Any]) -> None:
        try:
            await self._api.remove_pod(pod)
        except ApiError as error:
            _log.warning("pod_not_removed", pod=pod["metadata"]["name"], error=str(error))

    def _find_log(self, namespace: str, pod: str, container: str) -> Path | None:
        for runner in self._pods.values():
            meta = runner.pod["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, pod):
                for one in runner.containers:
                    if one.state.name == container:
                        return one.log
        return None
