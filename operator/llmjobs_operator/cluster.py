"""All that is said to the Kubernetes API server, and nothing else says anything to it but Kopf.

Objects are plain dicts. What "already so" means (gone when deleting, there when creating) counts
as done.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.request import getproxies_environment

import aiohttp
import msgspec
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config.config_exception import ConfigException

from llmjobs_core.errors import PermanentError, RetryableError
from llmjobs_operator.name_lists import NAMES_ONLY, parse_stamps
from llmjobs_operator.objects import COLLECTIONS, DELETION_COST, FIELD_MANAGER, Kind, ObjectKey
from llmjobs_operator.view import Stamp

_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_PAGE = 500
_TIMEOUT_S = 15


class ClusterUnavailable(RetryableError):
    """The API server can't be reached or is overloaded; try again later."""


class NotLeading(RetryableError):
    """Another operator may be acting: nothing was written."""


class ClusterConflict(RetryableError):
    """The object changed meanwhile, or is being deleted; look at it again."""


class ClusterRefused(PermanentError):
    """The API server refuses this object or this operator's rights; the message is its own."""


class ObjectGone(PermanentError):
    """There is no such object (any more)."""


def _translate(error: ApiException) -> Exception:
    try:
        body = json.loads(error.body or "{}")
    except ValueError:
        body = None
    told: dict[str, Any] = body if isinstance(body, dict) else {}
    text = str(told.get("message") or error.reason)[:500]
    if error.status == 404 and (told.get("details") or {}).get("name"):
        return ObjectGone(text)
    if error.status == 404:
        # Not the object is missing but its kind: an API server that has just started serves the
        # custom ones a moment later. Taken for a deletion, it would end every job.
        return ClusterUnavailable(text or "the kind is not served (yet)")
    if error.status == 410:
        return ClusterUnavailable(text)
    if error.status == 409:
        return ClusterConflict(text)
    if error.status in {0, 408, 429} or error.status >= 500:
        return ClusterUnavailable(text or f"status {error.status}")
    return ClusterRefused(text)


class Cluster:
    """The few calls that the operator needs."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self.may_write: Callable[[], bool] = lambda: True
        """Asked before every write but those of the Lease: whether this operator leads. One that
        was frozen in the middle of its work must not go on with it."""

    @classmethod
    async def connect(cls) -> "Cluster":
        """Use the pod's service account, or the kubeconfig that ``KUBECONFIG`` names.

        Raises ClusterRefused where there is neither.
        """
        try:
            try:
                config.load_incluster_config()
            except ConfigException:
                await config.load_kube_config()
        except ConfigException as error:
            raise ClusterRefused(f"no way to reach Kubernetes: {error}") from error
        return cls(client.ApiClient(_build_configuration()))

    def require_leading(self) -> None:
        """Raise NotLeading unless this operator may write, here or to the store."""
        if not self.may_write():
            raise NotLeading("another operator may be acting")

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        data = await self._request(
            method, path, body=body, query=query, content_type=content_type, accept=accept
        )
        try:
            answer = msgspec.json.decode(data) if data else {}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClusterUnavailable("an answer that is no JSON: a proxy's?") from error
        return answer if isinstance(answer, dict) else {}

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        if method != "GET" and "/leases" not in path:
            self.require_leading()
        params = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Content-Type": content_type, "Accept": accept},
            body=None if body is None else dict(body),
            auth_settings=["BearerToken"],
        )
        try:
            response = await self._api.call_api(*params, _request_timeout=_TIMEOUT_S)
            data = await response.read()
        except ApiException as error:
            raise _translate(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
            raise ClusterUnavailable(f"{type(error).__name__}: {error}") from error
        if response.status >= 400:
            raise _translate(
                ApiException(
                    status=response.status,
                    reason=response.reason,
                    body=data.decode("utf-8", "replace"),
                )
            )
        return data  # type: ignore[no-any-return]

    @staticmethod
    def _path(key: ObjectKey) -> str:
        return f"{_collection(key.kind, key.namespace)}/{key.name}"

    async def fetch(self, key: ObjectKey) -> dict[str, Any]:
        """Return an object as it is now; raises ObjectGone, ClusterUnavailable."""
        return await self._call("GET", self._path(key))

    async def is_namespace_ending(self, name: str) -> bool:
        """Whether a namespace is being deleted; raises ObjectGone, ClusterRefused."""
        body = await self._call("GET", f"/api/v1/namespaces/{name}")
        return bool(body.get("metadata", {}).get("deletionTimestamp"))

    async def list_stamps(
        self, kind: Kind, namespace: str, *, selector: str = ""
    ) -> dict[ObjectKey, Stamp]:
        """Return which form every object of a kind has now, without their specs.

        *namespace* is empty for all, *selector* a label selector. Raises ClusterUnavailable, also
        where the list was changed so much meanwhile that its rest is lost.
        """
        query = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        found: dict[ObjectKey, Stamp] = {}
        while True:
            data = await self._request(
                "GET", _collection(kind, namespace), query=query, accept=NAMES_ONLY
            )
            stamps, token = parse_stamps(kind, data)
            found |= stamps
            if not token:
                return found
            query["continue"] = token

    async def apply_status(
        self, key: ObjectKey, uid: str, status: Mapping[str, Any], before: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Replace the status of the object with this very *uid*; returns the object.

        *before* is the status that it has: fields of it that *status* lacks are removed. Raises
        ObjectGone, ClusterConflict (another object has the name now), ClusterUnavailable.
        """
        removed = dict.fromkeys(set(before) - set(status))
        body = {"metadata": {"uid": uid}, "status": {**removed, **status}}
        path = f"{self._path(key)}/status"
        return await self._call("PATCH", path, body=body, content_type=_MERGE)

    async def apply_finalizers(
        self, key: ObjectKey, uid: str, version: str, finalizers: list[str]
    ) -> dict[str, Any]:
        """Set the finalizers; raises ClusterConflict if the object changed since *version*."""
        meta = {"uid": uid, "resourceVersion": version, "finalizers": finalizers}
        return await self._call(
            "PATCH", self._path(key), body={"metadata": meta}, content_type=_MERGE
        )

    async def delete(self, key: ObjectKey, uid: str) -> None:
        """Delete the object with this very *uid*; gone is fine."""
        try:
            await self._call("DELETE", self._path(key), body={"preconditions": {"uid": uid}})
        except (ObjectGone, ClusterConflict):
            return

    async def apply_deployment(self, deployment: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a Deployment as ours (server-side apply); returns it as it is now."""
        meta = deployment["metadata"]
        path = f"/apis/apps/v1/namespaces/{meta['namespace']}/deployments/{meta['name']}"
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._call("PATCH", path, body=deployment, query=query, content_type=_APPLY)

    async def apply_deletion_cost(self, namespace: str, pod: str, cost: int) -> None:
        """Say what a scale-in would cost with this pod; a pod that is gone is fine."""
        body = {"metadata": {"annotations": {DELETION_COST: str(cost)}}}
        key = ObjectKey(Kind.POD, namespace, pod)
        try:
            await self._call("PATCH", self._path(key), body=body, content_type=_MERGE)
        except ObjectGone:
            return

    async def fetch_config_map_value(self, namespace: str, name: str, item: str) -> str | None:
        """Return a value of a ConfigMap; None where the map or the key is not there."""
        try:
            found = await self._call("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        except ObjectGone:
            return None
        value = (found.get("data") or {}).get(item)
        return None if value is None else str(value)

    async def publish_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Post an Event; a namespace that is going away is fine."""
        try:
            await self._call("POST", f"/api/v1/namespaces/{namespace}/events", body=event)
        except (ObjectGone, ClusterRefused, ClusterConflict):
            return

    async def fetch_lease(self, namespace: str, name: str) -> dict[str, Any]:
        """Return a Lease; raises ObjectGone."""
        return await self._call("GET", _lease_path(namespace, name))

    async def create_lease(self, namespace: str, lease: Mapping[str, Any]) -> dict[str, Any]:
        """Create a Lease; raises ClusterConflict if it is there."""
        return await self._call("POST", _lease_path(namespace), body=lease)

    async def replace_lease(
        self, namespace: str, name: str, lease: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Replace a Lease; raises ClusterConflict if it changed since it was read."""
        return await self._call("PUT", _lease_path(namespace, name), body=lease)


def _build_configuration() -> client.Configuration:
    """Return the client's configuration, asking the environment for a proxy only where it has one.

    aiohttp looks for one, and in a thread for a ``.netrc``, before every request: a third of what
    a call costs.
    """
    configuration = client.Configuration.get_default_copy()
    configuration.client_session_kwargs = {"trust_env": bool(getproxies_environment())}
    return configuration


def _collection(kind: Kind, namespace: str) -> str:
    base, plural = COLLECTIONS[kind]
    return f"{base}/namespaces/{namespace}/{plural}" if namespace else f"{base}/{plural}"


def _lease_path(namespace: str, name: str = "") -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    return f"{path}/{name}" if name else path
