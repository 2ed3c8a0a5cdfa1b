"""Who is calling, and what for: the interface of authorisation, and its two simple kinds.

A namespace is the tenant. What a caller may not see does not exist for it: routes answer 404.
"""

import hashlib
import hmac
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
import structlog

from llmjobs_api.problems import Problem

log = structlog.get_logger(__name__)

ALL_NAMESPACES = "*"
_CHECK_FILE_S = 5.0


class Verb(StrEnum):
    """What is done to jobs; the words are Kubernetes'."""

    CREATE = "create"
    GET = "get"
    LIST = "list"
    UPDATE = "update"
    DELETE = "delete"


class Resource(StrEnum):
    """What it is done to."""

    JOBS = "llmjobs"
    POOLS = "llmworkerpools"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller."""

    name: str
    namespace: str
    """Where its jobs go when the request does not say."""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What else the authenticator knows, sorted by name: some authorizers limit a token by it."""


class Authority(Protocol):
    """Knows callers and what they may do."""

    async def authenticate(self, authorization: str) -> Principal:
        """Return who sent this Authorization header; raises the 401 or 503 problem."""

    async def is_allowed(
        self, principal: Principal, verb: Verb, resource: Resource, namespace: str
    ) -> bool:
        """Whether *principal* may do this in *namespace* (``*`` for all); may raise 503."""


def unauthenticated(detail: str) -> Problem:
    """Return the answer to a caller who is not known."""
    return Problem(
        401,
        "unauthenticated",
        detail,
        param="Authorization",
        headers={"WWW-Authenticate": 'Bearer realm="llmjobs"'},
    )


def parse_bearer(authorization: str) -> str:
    """Return the token of an Authorization header; raises the 401 problem."""
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise unauthenticated("send a bearer token in the Authorization header")
    if len(token) > 16_384:
        raise unauthenticated("the bearer token is longer than 16384 characters")
    return token


class Anonymous:
    """Lets everybody do everything: for one's own machine."""

    def __init__(self, default_namespace: str) -> None:
        self._principal = Principal("anonymous", default_namespace)

    async def authenticate(self, authorization: str) -> Principal:  # noqa: ARG002 - the interface
        """Return the one caller there is."""
        return self._principal

    async def is_allowed(
        self,
        principal: Principal,  # noqa: ARG002 - the interface
        verb: Verb,  # noqa: ARG002
        resource: Resource,  # noqa: ARG002
        namespace: str,  # noqa: ARG002
    ) -> bool:
        """Return True."""
        return True


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key as the file has it; the key itself is never stored."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]
    """Shown as the user of its jobs; the part of the key before the first underscore."""
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the whole key, in hexadecimal."""
    namespaces: tuple[str, ...]
    """Where it may act, the first being its default; ``*`` for everywhere."""
    verbs: tuple[Verb, ...] = tuple(Verb)


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    keys: tuple[ApiKey, ...]


def parse_key_file(data: bytes) -> dict[str, ApiKey]:
    """Return the keys by id; raises ValueError naming what is wrong."""
    keys = msgspec.json.decode(data, type=KeyFile).keys
    found = {key.id: key for key in keys}
    if len(found) != len(keys):
        raise ValueError("a key id is used twice")
    if any(not key.namespaces for key in keys):
        raise ValueError("a key has no namespace")
    return found


class ApiKeys:
    """Knows callers by hashed keys in a file (a mounted Secret), read again when it changes."""

    def __init__(self, path: Path, default_namespace: str) -> None:
        """Read *path*; raises OSError or ValueError when it can't be used."""
        self._path = path
        self._default_namespace = default_namespace
        self._checked_s = time.monotonic()
        self._seen_ns = path.stat().st_mtime_ns
        self._keys = parse_key_file(path.read_bytes())

    async def authenticate(self, authorization: str) -> Principal:
        """Return the holder of the key."""
        self._reread()
        token = parse_bearer(authorization)
        key = self._keys.get(token.partition("_")[0])
        digest = hashlib.sha256(token.encode()).hexdigest()
        if not hmac.compare_digest(digest, key.sha256 if key else "0" * 64) or key is None:
            raise unauthenticated("the API key is not known")
        first = key.namespaces[0]
        return Principal(
            f"key:{key.id}", self._default_namespace if first == ALL_NAMESPACES else first
        )

    async def is_allowed(
        self,
        principal: Principal,
        verb: Verb,
        resource: Resource,  # noqa: ARG002 - a key is for jobs and the pools they may use
        namespace: str,
    ) -> bool:
        """Whether the key's entry has the namespace and the verb."""
        key = self._keys.get(principal.name.removeprefix("key:"))
        if key is None or verb not in key.verbs:
            return False
        return namespace in key.namespaces or ALL_NAMESPACES in key.namespaces

    def _reread(self) -> None:
        now_s = time.monotonic()
        if now_s - self._checked_s < _CHECK_FILE_S:
            return
        self._checked_s = now_s
        try:
            seen_ns = self._path.stat().st_mtime_ns
            if seen_ns != self._seen_ns:
                self._keys = parse_key_file(self._path.read_bytes())
                self._seen_ns = seen_ns
                log.info("api_keys_read", keys=len(self._keys))
        except (OSError, ValueError, msgspec.DecodeError) as error:
            # The keys read before stay valid: a half-written Secret must not lock everybody out.
            log.warning("api_keys_unreadable", cause=type(error).__name__)
