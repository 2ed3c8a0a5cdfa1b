"""Lease keeping for a worker's own thread: synchronous, one round trip a beat.

A thread and not a task of the event loop: a loop that is busy parsing tokens must not make its
process look dead.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import redis

from llmjobs_core.errors import StoreUnavailable
from llmjobs_core.jobs import Lost, ReapReport
from llmjobs_core.names import PoolKey, UnitRef
from llmjobs_core.store import encode, keys
from llmjobs_core.store.connection import StoreOptions, build_sync_client, translated_errors
from llmjobs_core.store.scripts import ScriptName, run_script_sync

LEASE_S = 5.0
REAP_S = 0.5
_HEALTH_S = 2.0
_PINGS_MAX = 2
"""Unanswered pings after which the connection of a :class:`WakeReader` is taken for dead."""


@dataclass(frozen=True, slots=True)
class RenewResult:
    """What one beat told."""

    lost: tuple[Lost, ...]
    """Requests to abort at once: their fence is old, or their job ended."""
    sent_at_s: float
    """``time.monotonic()`` just before the call: leases renewed by it last LEASE_S from here."""


class LeaseStore:
    """Renews this process's leases, and reaps everybody's."""

    def __init__(
        self, client: redis.Redis, *, prefix: str, template: str, lease_s: float = LEASE_S
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._template = template
        self._lease_s = lease_s

    def renew(
        self, worker: str, pool: PoolKey, slots: int, held: Iterable[tuple[UnitRef, int]]
    ) -> RenewResult:
        """Renew all *held* (unit, fence) and announce the worker with its *slots*.

        With no slots the worker takes its leave (a drain). Raises StoreUnavailable; the caller
        tries again at the next beat and aborts what it could not renew for a whole lease.
        """
        sent_at_s = time.monotonic()
        held = list(held)
        reply = run_script_sync(
            self._client,
            ScriptName.RENEW,
            encode.renew_args(
                self._prefix, self._template, self._lease_s, worker, pool, slots, held
            ),
        )
        return RenewResult(encode.parse_lost(reply), sent_at_s)

    def reap(self, *, limit: int = 200) -> ReapReport:
        """Make one recovery pass; cheap when another process has just made one."""
        reply = run_script_sync(
            self._client, ScriptName.REAP, encode.reap_args(self._prefix, self._template, limit)
        )
        return encode.parse_reap(reply)


class WakeReader:
    """Waits for the store to say that this worker runs something it must stop, for a thread.

    Only a hint to beat at once: nobody repeats it, so the beats go on without it.
    """

    def __init__(self, options: StoreOptions, worker: str) -> None:
        self._channel = keys.wake(options.prefix, worker)
        client = build_sync_client(options, health_s=_HEALTH_S)
        self._pubsub = client.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )

    def wait(self, timeout_s: float) -> bool:
        """Return True when told, False after *timeout_s* or so. Raises StoreUnavailable.

        The caller waits a little after an error and calls again.
        """
        try:
            with translated_errors():
                if not self._pubsub.subscribed:
                    self._pubsub.subscribe(self._channel)
                message = self._pubsub.get_message(timeout=timeout_s)
        except StoreUnavailable:
            self._pubsub.reset()
            raise
        if self._pubsub.health_check_response_counter > _PINGS_MAX:
            self._pubsub.reset()  # a half-open connection takes pings for ever
        return message is not None
