"""The node's only way to the API server: a few calls, as ``system:node:NAME``."""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from llmjobs_dev.certificates import KeyPair

MERGE_PATCH = "application/merge-patch+json"
WATCH_TIMEOUT_S = 240


class ApiError(Exception):
    """The API server refused, or can't be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status


class NodeApi:
    """Calls of the core and coordination groups that a node needs."""

    def __init__(self, server: str, authority: str, pair: KeyPair, node: str) -> None:
        self._server = server
        self._node = node
        self._ssl = ssl.create_default_context(cafile=authority)
        self._ssl.load_cert_chain(pair.certificate, pair.key)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session; call it within the loop that uses it."""
        connector = aiohttp.TCPConnector(ssl=self._ssl)
        self._session = aiohttp.ClientSession(self._server, connector=connector)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, kind: str = ""
    ) -> dict[str, Any]:
        """Make one call; raises ApiError."""
        if self._session is None:
            raise ApiError(0, "the session is not open")
        headers = {"Content-Type": kind or "application/json"}
        data = None if body is None else json.dumps(body)
        try:
            async with self._session.request(
                method, path, data=data, headers=headers, timeout=aiohttp.ClientTimeout(total=15)
            ) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error
        if response.status >= 400:
            raise ApiError(response.status, str((answer or {}).get("message", ""))[:500])
        return answer if isinstance(answer, dict) else {}

    async def watch_pods(self, version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield (event type, pod) of this node's pods from *version* on; raises ApiError."""
        if self._session is None:
            raise ApiError(0, "the session is not open")
        query = {
            "watch": "1",
            "fieldSelector": f"spec.nodeName={self._node}",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_TIMEOUT_S),
            "allowWatchBookmarks": "true",
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_read=WATCH_TIMEOUT_S + 30)
        try:
            async with self._session.get(
                "/api/v1/pods", params=query, timeout=timeout, read_bufsize=2**20
            ) as response:
                if response.status >= 400:
                    raise ApiError(response.status, "the watch was refused")
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(int(event["object"].get("code", 0)), "the watch ended")
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error

    async def list_pods(self) -> tuple[list[dict[str, Any]], str]:
        """Return this node's pods and the version to watch from."""
        found = await self.call("GET", f"/api/v1/pods?fieldSelector=spec.nodeName={self._node}")
        return found.get("items") or [], found["metadata"]["resourceVersion"]

    async def fetch_values(self, kind: str, namespace: str, name: str) -> dict[str, str] | None:
        """Return what a Secret or ConfigMap holds (*kind* is its plural); None if not there."""
        try:
            found = await self.call("GET", f"/api/v1/namespaces/{namespace}/{kind}/{name}")
        except ApiError as error:
            if error.status in {403, 404}:
                return None
            raise
        data: dict[str, str] = found.get("data") or {}
        if kind == "secrets":
            return {key: base64.b64decode(value).decode() for key, value in data.items()}
        return data

    async def put_pod_status(self, pod: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        """Write a pod's status, for this very pod only (by its UID); gone is fine."""
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        body = {"metadata": {"uid": meta["uid"]}, "status": status}
        try:
            await self.call("PATCH", path, body, kind=MERGE_PATCH)
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    async def remove_pod(self, pod: Mapping[str, Any]) -> None:
        """Remove a pod whose processes have ended; gone is fine."""
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        try:
            await self.call("DELETE", path, body)
        except ApiError as error:
            if error.status not in {404, 409}:
                raise
