"""Connections to Redis or Valkey, and what their failures mean to us.

redis-py's defaults (a 5 s socket timeout with 10 automatic retries) repeat calls that must not be
repeated and break long blocking reads, so every client here states its own. The store never
retries by itself: callers do, with the idempotency key or fence that makes it safe.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from llmjobs_core.errors import (
    IdempotencyMismatch,
    JobNotFound,
    LLMJobsError,
    PoolNotFound,
    StateConflict,
    StoreFull,
    StoreUnavailable,
)


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How to reach the store."""

    url: str
    prefix: str = "llmjobs:"
    """In front of every key."""
    timeout_s: float = 3.0
    """Longest wait for a connection or an ordinary answer."""
    max_connections: int = 64


_NO_NOTICES = MaintNotificationsConfig(enabled=False)
"""redis-py takes a pooled connection that the server closed for a good one wherever it may receive
notices of maintenance, which it asks for by default: every connection that lay idle during a
restart would then cost one call (50 of 50, with redis-py 8.1)."""


def build_async_client(options: StoreOptions, *, block_s: float = 0.0) -> redis.asyncio.Redis:
    """Return a client; its reads may wait *block_s* at the server on top of an ordinary answer.

    So a half-open connection is noticed after *block_s* and the timeout of *options* at the latest.
    """
    return redis.asyncio.Redis.from_url(
        options.url,
        socket_timeout=options.timeout_s + block_s,
        socket_connect_timeout=options.timeout_s,
        socket_keepalive=True,
        retry=AsyncRetry(NoBackoff(), 0),
        retry_on_timeout=False,
        max_connections=options.max_connections,
        decode_responses=False,
        maint_notifications_config=_NO_NOTICES,
    )


def build_sync_client(options: StoreOptions, *, health_s: float = 0.0) -> redis.Redis:
    """Return a client for a thread of its own.

    With *health_s*, a connection that was silent for so long is tried with a ping first.
    """
    return redis.Redis.from_url(
        options.url,
        socket_timeout=options.timeout_s,
        socket_connect_timeout=options.timeout_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        max_connections=options.max_connections,
        health_check_interval=health_s,
        decode_responses=False,
        maint_notifications_config=_NO_NOTICES,
    )


_REFUSALS: dict[str, type[LLMJobsError]] = {
    "NOTFOUND": JobNotFound,
    "NOPOOL": PoolNotFound,
    "MISMATCH": IdempotencyMismatch,
    "CONFLICT": StateConflict,
}


_NOT_NOW = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ClusterDownError,
    ReadOnlyError,
    TryAgainError,
)
"""Not there, not ready, or no primary (any more); a replica without its primary is ClusterDown, a
cluster that moves slots says TryAgain."""
_NOT_NOW_WORDS = frozenset({"UNBLOCKED", "NOREPLICAS", "BUSY"})
"""The same, as replies that redis-py has no type for: a blocked call at a server that was demoted,
too few replicas (``min-replicas-to-write``), a long script."""


_TOLD_MAX = 200
"""Characters of an error of redis-py's that are passed on."""
_CLOSED_HANDLE = "the handler is closed"
"""What uvloop says, in a RuntimeError, of a write to a connection that was reset a moment ago;
redis-py knows only asyncio's own way to say so, and drops the connection all the same."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what redis-py raises into the store's errors, with the cause chained."""
    try:
        yield
    except OutOfMemoryError as error:
        raise StoreFull("Redis has no memory left for new jobs") from error
    except _NOT_NOW as error:
        raise StoreUnavailable(
            f"Redis can't be used: {type(error).__name__}: {str(error)[:_TOLD_MAX]}"
        ) from error
    except RuntimeError as error:
        if _CLOSED_HANDLE not in str(error):
            raise
        raise StoreUnavailable("Redis can't be reached: the connection was reset") from error
    except ResponseError as error:
        word, _, rest = str(error).partition(" ")
        refusal = _REFUSALS.get(word)
        if refusal is None:
            if word in {"OOM", "MISCONF"}:
                raise StoreFull("Redis refuses writes") from error
            if word in _NOT_NOW_WORDS:
                raise StoreUnavailable(f"Redis can't do it now: {word}") from error
            raise
        raise refusal(rest) from error
