"""What was found when each live LLMJob was last looked at, so that a resync looks at few again.

A resync is for what no event told. It reads all records and places in a few round trips, and only
what differs is worth a look of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmjobs_core.explain import WaitExplanation, explain_waiting
from llmjobs_core.jobs import JobRecord
from llmjobs_operator.conditions import is_true
from llmjobs_operator.job_reads import JobReads
from llmjobs_operator.objects import Kind, ObjectKey
from llmjobs_operator.view import ClusterView, Stamp, stamp_of

_MOST = 500
"""Records in one reading, so that no one reading holds the store for long (arbitrary)."""


@dataclass(frozen=True, slots=True)
class Look:
    """One LLMJob and its job, as they were when the status was made from them."""

    stamp: Stamp | None
    """The form that was looked at, or as our own write left it: an edit meanwhile is another."""
    record: JobRecord
    explained: WaitExplanation
    at_ms: int


class Looks:
    """Remembers the last look at each LLMJob that has not ended."""

    def __init__(self, reads: JobReads, view: ClusterView) -> None:
        self._reads = reads
        self._view = view
        self._looks: dict[ObjectKey, Look] = {}
        self._forms: dict[ObjectKey, Stamp | None] = {}

    def begin(self, key: ObjectKey) -> None:
        """Remember which form of the LLMJob is looked at now."""
        self._forms[key] = self._view.stamp(key)

    def follow(self, key: ObjectKey, body: Mapping[str, Any]) -> None:
        """Take the LLMJob as our own write left it for what is looked at."""
        self._forms[key] = stamp_of(body)

    def note(
        self, key: ObjectKey, record: JobRecord, explained: WaitExplanation, *, now_ms: int
    ) -> None:
        """Remember what was found at the look that has begun last."""
        self._looks[key] = Look(self._forms.get(key), record, explained, now_ms)

    async def is_known(self, key: ObjectKey, *, since_ms: int) -> bool:
        """Whether all is as it was at a look since then; raises RetryableError."""
        look = self._looks.get(key)
        if look is None or look.at_ms < since_ms or look.stamp != self._view.stamp(key):
            return False
        return await self._reads.fetch_record(look.record.id) == look.record

    def forget(self, key: ObjectKey) -> None:
        """Forget an LLMJob that has ended, or is gone."""
        self._looks.pop(key, None)
        self._forms.pop(key, None)

    async def find_changed(self, now_ms: int) -> list[ObjectKey]:
        """Return the live LLMJobs that are not as they were; raises RetryableError."""
        changed: list[ObjectKey] = []
        same: list[tuple[ObjectKey, Look]] = []
        keys = self._view.keys(Kind.JOB)
        for gone in self._forms.keys() - set(keys):
            self.forget(gone)
        for key in keys:
            look = self._looks.get(key)
            if look is not None and look.stamp == self._view.stamp(key):
                same.append((key, look))
            elif not is_true((self._view.get(key) or {}).get("status") or {}, "Finished"):
                changed.append(key)
        for at in range(0, len(same), _MOST):
            changed += await self._compare(same[at : at + _MOST], now_ms)
        return changed

    async def _compare(
        self, looks: Sequence[tuple[ObjectKey, Look]], now_ms: int
    ) -> list[ObjectKey]:
        standings = await self._reads.fetch_standings(
            [(look.record.id, look.record.pool) for _, look in looks]
        )
        changed: list[ObjectKey] = []
        for (key, look), standing in zip(looks, standings, strict=True):
            if standing.record != look.record:
                changed.append(key)
                continue
            stats = standing.stats
            explained = explain_waiting(
                look.record, stats, standing.waiting, stats.now_ms if stats else now_ms
            )
            if explained != look.explained:
                changed.append(key)
        return changed
