"""Authorisation by the cluster's own rules: the only module of the gateway that talks to it.

A bearer token is checked by TokenReview, each action by SubjectAccessReview; answers are believed
for some seconds. When the API server can't say, nobody gets in and nobody is told «no»: it is 503.
Source: https://kubernetes.io/docs/reference/access-authn-authz/webhook/
"""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import aiohttp
import structlog
from kubernetes.aio import client, config

from llmjobs_api.identity import (
    ALL_NAMESPACES,
    Principal,
    Resource,
    Verb,
    parse_bearer,
    unauthenticated,
)
from llmjobs_api.problems import Problem
from llmjobs_core.names import GROUP

log = structlog.get_logger(__name__)

CALL_TIMEOUT_S = 5
CACHE_MAX = 10_000
_SERVICE_ACCOUNT = "system:serviceaccount:"

K = TypeVar("K")
V = TypeVar("V")


class ExpiringCache(Generic[K, V]):
    """Remembers answers for a while, and not more than some."""

    def __init__(self, ttl_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._items: dict[K, tuple[float, V]] = {}

    def get(self, key: K) -> V | None:
        """Return what is remembered, or None."""
        found = self._items.get(key)
        if found is None or found[0] <= self._clock():
            return None
        return found[1]

    def put(self, key: K, value: V) -> None:
        """Remember *value*; forgets the oldest when there are too many."""
        self._items.pop(key, None)
        while len(self._items) >= CACHE_MAX:
            del self._items[next(iter(self._items))]
        self._items[key] = (self._clock() + self._ttl_s, value)


class KubernetesAuthority:
    """Knows callers by their tokens, and asks RBAC what they may do."""

    def __init__(
        self,
        api: client.ApiClient,
        *,
        audiences: tuple[str, ...],
        cache_s: float,
        default_namespace: str,
    ) -> None:
        self._api = api
        self._audiences = audiences
        self._default_namespace = default_namespace
        self._callers: ExpiringCache[bytes, Principal | str] = ExpiringCache(cache_s)
        self._answers: ExpiringCache[tuple[Principal, Verb, Resource, str], bool] = ExpiringCache(
            cache_s
        )

    async def authenticate(self, authorization: str) -> Principal:
        """Return whom the API server knows by this token."""
        token = parse_bearer(authorization)
        digest = hashlib.sha256(token.encode()).digest()
        known = self._callers.get(digest)
        if known is None:
            known = await self._review_token(token)
            self._callers.put(digest, known)
        if isinstance(known, str):
            raise unauthenticated(known)
        return known

    async def _review_token(self, token: str) -> Principal | str:
        """Return the caller, or why it is none."""
        review = client.V1TokenReview(
            spec=client.V1TokenReviewSpec(token=token, audiences=list(self._audiences) or None)
        )
        try:
            answer = await client.AuthenticationV1Api(self._api).create_token_review(
                review, _request_timeout=CALL_TIMEOUT_S
            )
        except (client.ApiException, aiohttp.ClientError, TimeoutError) as error:
            raise _unavailable("TokenReview", error) from error
        status = answer.status
        if status is None or not status.authenticated or status.user is None:
            return "the bearer token is not valid for this cluster"
        # With audiences asked for, an API server that does not know them answers without any.
        if self._audiences and not set(self._audiences) & set(status.audiences or ()):
            return "the bearer token is for another audience"
        name = status.user.username or ""
        return Principal(
            name=name,
            namespace=self._home(name),
            uid=status.user.uid or "",
            groups=tuple(status.user.groups or ()),
        )

    def _home(self, user: str) -> str:
        if user.startswith(_SERVICE_ACCOUNT):
            return user.removeprefix(_SERVICE_ACCOUNT).partition(":")[0]
        return self._default_namespace

    async def is_allowed(
        self, principal: Principal, verb: Verb, resource: Resource, namespace: str
    ) -> bool:
        """Whether RBAC allows it."""
        question = (principal, verb, resource, namespace)
        known = self._answers.get(question)
        if known is None:
            known = await self._review_access(*question)
            self._answers.put(question, known)
        return known

    async def _review_access(
        self, principal: Principal, verb: Verb, resource: Resource, namespace: str
    ) -> bool:
        review = client.V1SubjectAccessReview(
            spec=client.V1SubjectAccessReviewSpec(
                user=principal.name,
                uid=principal.uid,
                groups=list(principal.groups),
                resource_attributes=client.V1ResourceAttributes(
                    group=GROUP,
                    resource=resource.value,
                    verb=verb.value,
                    namespace="" if namespace == ALL_NAMESPACES else namespace,
                ),
            )
        )
        try:
            answer = await client.AuthorizationV1Api(self._api).create_subject_access_review(
                review, _request_timeout=CALL_TIMEOUT_S
            )
        except (client.ApiException, aiohttp.ClientError, TimeoutError) as error:
            raise _unavailable("SubjectAccessReview", error) from error
        return bool(answer.status and answer.status.allowed)

    async def close(self) -> None:
        """Close the connections to the API server."""
        await self._api.close()


async def connect_authority(
    kubeconfig: Path | None,
    *,
    audiences: tuple[str, ...],
    cache_s: float,
    default_namespace: str,
) -> KubernetesAuthority:
    """Return an authority by *kubeconfig*, or by the pod's own service account if it is None."""
    settings = client.Configuration()
    if kubeconfig is None:
        config.load_incluster_config(client_configuration=settings)
    else:
        await config.load_kube_config(
            config_file=str(kubeconfig), client_configuration=settings, persist_config=False
        )
    return KubernetesAuthority(
        client.ApiClient(configuration=settings),
        audiences=audiences,
        cache_s=cache_s,
        default_namespace=default_namespace,
    )


def _unavailable(what: str, error: Exception) -> Problem:
    status = error.status if isinstance(error, client.ApiException) else None
    log.error("authorization_unavailable", review=what, cause=type(error).__name__, status=status)
    return Problem(
        503,
        "authorization_unavailable",
        "the cluster can't be asked who you are and what you may do; try again",
        headers={"Retry-After": "2"},
    )
