"""Authorisation by the cluster's own rules.

A bearer token is checked by TokenReview, each action by SubjectAccessReview; answers are believed
for some seconds. When the API server can't say, nobody gets in and nobody is told «no»: it is 503.
Source: https://kubernetes.io/docs/reference/access-authn-authz/webhook/
"""

import hashlib
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from llmjobs_api.cluster import Cluster, ClusterRefused, ClusterUnavailable
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
        cluster: Cluster,
        *,
        audiences: tuple[str, ...],
        cache_s: float,
        default_namespace: str,
    ) -> None:
        self._cluster = cluster
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
        try:
            review = await self._cluster.review_token(token, self._audiences)
        except (ClusterUnavailable, ClusterRefused) as error:
            raise _unavailable("TokenReview", error) from error
        if review is None:
            return "the bearer token is not valid for this cluster"
        # With audiences asked for, an API server that does not know them answers without any.
        if self._audiences and not set(self._audiences) & set(review.audiences):
            return "the bearer token is for another audience"
        return Principal(
            name=review.user,
            namespace=self._home(review.user),
            uid=review.uid,
            groups=review.groups,
            extra=review.extra,
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
        attributes = {
            "group": GROUP,
            "resource": resource.value,
            "verb": verb.value,
            "namespace": "" if namespace == ALL_NAMESPACES else namespace,
        }
        try:
            return await self._cluster.review_access(
                principal.name, principal.uid, principal.groups, principal.extra, attributes
            )
        except (ClusterUnavailable, ClusterRefused) as error:
            raise _unavailable("SubjectAccessReview", error) from error


def _unavailable(what: str, error: Exception) -> Problem:
    log.error(
        "authorization_unavailable", review=what, cause=type(error).__name__, message=str(error)
    )
    return Problem(
        503,
        "authorization_unavailable",
        "the cluster can't be asked who you are and what you may do; try again",
        headers={"Retry-After": "2"},
    )
