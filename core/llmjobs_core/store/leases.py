"""Lease keeping for a worker's own thread: synchronous, one round trip a beat.

A thread and not a task of the event loop: a loop that is busy parsing tokens must not make its
process look dead.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import redis

from llmjobs_core.jobs import Lost, ReapReport
from llmjobs_core.names import PoolKey, UnitRef
from llmjobs_core.store import encode
from llmjobs_core.store.scripts import ScriptName, run_script_sync

LEASE_S = 5.0
BEAT_S = 1.0
REAP_S = 0.5


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
