"""All that the gateway says to the Kubernetes API server.

Reviews of callers, and the LLMJobs behind durable jobs; nothing else here talks to it. Loaded only
where it is used: the Kubernetes client costs 50 MiB and half a second.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client, config

from llmjobs_api.resources import (
    ClusterRefused,
    ClusterUnavailable,
    ResourceExists,
    ResourceGone,
    ResourceInvalid,
)
from llmjobs_core.names import GROUP, VERSION

CALL_TIMEOUT_S = 5
_CREATE_TIMEOUT_S = 15
"""An object of a megabyte takes a moment."""
_MERGE = "application/merge-patch+json"
_MESSAGE_MAX = 400

__all__ = ["Cluster", "ClusterRefused", "ClusterUnavailable", "TokenOwner"]


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Whom the API server knows by a token."""

    user: str
    uid: str
    groups: tuple[str, ...]
    audiences: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


def _translate(status: int, body: str) -> Exception:
    try:
        told = json.loads(body)
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    message = str(told.get("message", ""))[:_MESSAGE_MAX]
    reason = told.get("reason")
    if status in {0, 408, 429} or status >= 500:
        return ClusterUnavailable(message or f"status {status}")
    if status == 404 and not (told.get("details") or {}).get("name"):
        # Its kind is missing: an API server that has just started serves it a moment later.
        return ClusterUnavailable(message or "LLMJobs are not served (yet)")
    # 409 for its UID: another object has the name now.
    if status == 404 or (status == 409 and "UID in precondition" in message):
        return ResourceGone(message)
    if status == 409:
        found = ResourceExists if reason == "AlreadyExists" else ClusterUnavailable
        return found(message)
    if status == 422:
        # Not the message: it repeats values, which may be a prompt.
        causes = (told.get("details") or {}).get("causes") or []
        fields = [str(cause.get("field", "")) for cause in causes if isinstance(cause, dict)]
        return ResourceInvalid([field for field in fields if field][:5])
    return ClusterRefused(message or f"status {status}")


class Cluster:
    """The few calls that the gateway needs; raises the errors of ``resources``."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls, kubeconfig: Path | None) -> "Cluster":
        """Use *kubeconfig*, or the pod's own service account if it is None."""
        settings = client.Configuration()
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=settings)
        else:
            await config.load_kube_config(
                config_file=str(kubeconfig), client_configuration=settings, persist_config=False
            )
        return cls(client.ApiClient(configuration=settings))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def review_token(self, token: str, audiences: Sequence[str]) -> TokenOwner | None:
        """Return whose *token* it is; None when it is nobody's."""
        spec = {"token": token, "audiences": list(audiences) or None}
        answer = await self._review("authentication.k8s.io/v1", "TokenReview", spec)
        user = answer.get("user")
        if not answer.get("authenticated") or not isinstance(user, dict):
            return None
        return TokenOwner(
            user=str(user.get("username") or ""),
            uid=str(user.get("uid") or ""),
            groups=tuple(user.get("groups") or ()),
            audiences=tuple(answer.get("audiences") or ()),
            extra=tuple(
                sorted((name, tuple(values)) for name, values in (user.get("extra") or {}).items())
            ),
        )

    async def review_access(
        self,
        user: str,
        uid: str,
        groups: Sequence[str],
        extra: Sequence[tuple[str, Sequence[str]]],
        attributes: Mapping[str, str],
    ) -> bool:
        """Whether RBAC lets this user do this."""
        spec = {
            "user": user,
            "uid": uid,
            "groups": list(groups),
            "extra": {name: list(values) for name, values in extra},
            "resourceAttributes": dict(attributes),
        }
        answer = await self._review("authorization.k8s.io/v1", "SubjectAccessReview", spec)
        return bool(answer.get("allowed"))

    async def _review(self, version: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": version, "kind": kind, "spec": spec}
        answer = await self._call("POST", f"/apis/{version}/{kind.lower()}s", body)
        status = answer.get("status")
        return status if isinstance(status, dict) else {}

    async def create_job(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create an LLMJob; returns it as it is now. ResourceGone: there is no such namespace."""
        path = _path(str(manifest["metadata"]["namespace"]))
        return await self._call("POST", path, manifest, timeout_s=_CREATE_TIMEOUT_S)

    async def fetch_job(self, namespace: str, name: str) -> dict[str, Any]:
        """Return an LLMJob."""
        return await self._call("GET", _path(namespace, name))

    async def apply_wish(
        self, namespace: str, name: str, uid: str, spec: Mapping[str, Any]
    ) -> None:
        """Change these fields of the spec of the LLMJob with this very *uid*."""
        body = {"metadata": {"uid": uid}, "spec": dict(spec)}
        await self._call("PATCH", _path(namespace, name), body, content_type=_MERGE)

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> dict[str, Any]:
        params = await self._api.param_serialize(
            method,
            path,
            header_params={"Content-Type": content_type, "Accept": "application/json"},
            body=None if body is None else dict(body),
            auth_settings=["BearerToken"],
        )
        try:
            response = await self._api.call_api(*params, _request_timeout=timeout_s)
            data = await response.read()
        except client.ApiException as error:
            raise _translate(error.status or 0, str(error.body or "")) from error
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
            # The last is uvloop's, where a connection was closed behind its back.
            raise ClusterUnavailable(type(error).__name__) from error
        if response.status >= 400:
            raise _translate(response.status, data.decode("utf-8", "replace"))
        try:
            answer = json.loads(data) if data else {}
        except ValueError as error:
            raise ClusterUnavailable("an answer that is no JSON") from error
        return answer if isinstance(answer, dict) else {}


def _path(namespace: str, name: str = "") -> str:
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/llmjobs"
    return f"{path}/{name}" if name else path
