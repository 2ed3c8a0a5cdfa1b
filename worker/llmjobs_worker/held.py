"""The requests that this process holds leases for: shared by its loop and its lease thread.

The loop adds, aborts and removes; the thread reads, and notes what was renewed. Every access is
under one lock, held for moments only.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from llmjobs_core.jobs import Lost
from llmjobs_core.names import UnitRef


class AbortReason(StrEnum):
    """Why a request is stopped before its end."""

    CANCELLED = "cancelled"
    """Its job ended or was suspended."""
    FENCED = "fenced"
    """Another worker may have it: this one's fence is old."""
    LAPSED = "lapsed"
    """Its lease could not be renewed for too long, so another worker may have it."""
    DRAINED = "drained"
    """This worker leaves and hands it back."""
    ENGINE_UNHEALTHY = "engine_unhealthy"
    """The engine stopped answering; it goes on elsewhere."""
    CROWDED = "crowded"
    """No slot came free for it in time; it goes on elsewhere."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A request that must be stopped; the fence tells it from a later claim of the same one."""

    ref: UnitRef
    fence: int
    reason: AbortReason


def build_losses(lost: Iterable[Lost], fences: Mapping[UnitRef, int]) -> list[Loss]:
    """Return what the store said is lost, by the fences that it was asked about."""
    return [
        Loss(
            item.ref,
            fences[item.ref],
            AbortReason.CANCELLED if item.cancelled else AbortReason.FENCED,
        )
        for item in lost
        if item.ref in fences and not item.behind
    ]


class HeldUnit:
    """One request that this process owns."""

    __slots__ = ("_abort", "abort_reason", "fence", "is_ending", "ref", "renewed_s")

    def __init__(self, ref: UnitRef, fence: int, renewed_s: float) -> None:
        self.ref = ref
        self.fence = fence
        self.renewed_s = renewed_s
        """``time.monotonic()`` from which the lease counts, seen from here."""
        self.is_ending = False
        """Its final call to the store is on its way: that call's answer decides, not the beat's."""
        self.abort_reason: AbortReason | None = None
        self._abort: Callable[[], object] | None = None

    def set_abort(self, abort: Callable[[], object]) -> None:
        """Say how to stop the request; called at once if it was aborted before."""
        self._abort = abort
        if self.abort_reason is not None:
            abort()

    def abort(self, reason: AbortReason) -> None:
        """Stop the request; the first reason counts. In the loop's thread only."""
        if self.abort_reason is not None or self.is_ending:
            return
        self.abort_reason = reason
        if self._abort is not None:
            self._abort()


class HeldUnits:
    """All of them, by reference."""

    def __init__(self) -> None:
        self._units: dict[UnitRef, HeldUnit] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._units)

    def add(self, unit: HeldUnit) -> None:
        """Hold *unit* from now on."""
        with self._lock:
            self._units[unit.ref] = unit

    def remove(self, unit: HeldUnit) -> None:
        """Hold *unit* no more; a newer one with the same reference stays."""
        with self._lock:
            if self._units.get(unit.ref) is unit:
                del self._units[unit.ref]

    def abort(self, losses: Iterable[Loss]) -> None:
        """Stop the requests that are lost; in the loop's thread only."""
        for loss in losses:
            unit = self._units.get(loss.ref)
            if unit is not None and unit.fence == loss.fence:
                unit.abort(loss.reason)

    def snapshot(self) -> list[HeldUnit]:
        """Return what is held now."""
        with self._lock:
            return list(self._units.values())

    def abort_all(self, reason: AbortReason) -> None:
        """Stop every request; in the loop's thread only."""
        for unit in self.snapshot():
            unit.abort(reason)


def note_renewed(units: Iterable[HeldUnit], sent_at_s: float) -> None:
    """Note that these leases count from *sent_at_s*."""
    for unit in units:
        unit.renewed_s = max(unit.renewed_s, sent_at_s)


def find_lapsed(units: Iterable[HeldUnit], now_s: float, limit_s: float) -> list[Loss]:
    """Return the units that were not renewed for *limit_s* at *now_s* (monotonic)."""
    return [
        Loss(unit.ref, unit.fence, AbortReason.LAPSED)
        for unit in units
        if unit.renewed_s < now_s - limit_s
    ]
