"""The store's fair backlog (``lua/lib/backlog.lua`` and ``dispatch``), for single requests.

A port, since a simulation can't ask a server a million times: an integration test submits and
dispatches the same random jobs here and in the store, and wants the same order. Must do nothing
that the store does not.
"""

import heapq
from collections.abc import Hashable

from llmjobs_core.states import JobClass


class FairBacklog:
    """Who is handed out next, by start-time fair queueing."""

    def __init__(self) -> None:
        self._line: list[tuple[float, int, bool]] = []
        self._flows: dict[Hashable, float] = {}
        self._virtual_time = 0.0

    def __len__(self) -> int:
        return len(self._line)

    def add(self, job: int, flow: Hashable, job_class: JobClass, cost: int, weight: int) -> None:
        """Put *job* in line; a higher number is a later id. *weight* is class times namespace."""
        key = (flow, job_class)
        tag = max(self._virtual_time, self._flows.get(key, 0.0)) + cost / weight
        self._flows[key] = tag
        heapq.heappush(self._line, (tag, job, job_class is JobClass.INTERACTIVE))

    def take(self, slots: int, busy: int) -> tuple[int, bool] | None:
        """Hand out the best job and whether it is urgent; None where the window has no room.

        *slots* are those of the live workers, *busy* the requests that run or were handed out.
        """
        if slots <= 0:
            return None
        if not self._line:
            self._flows.clear()
            return None
        tag, job, is_urgent = self._line[0]
        if busy >= slots * (3 if is_urgent else 2):
            return None
        heapq.heappop(self._line)
        self._virtual_time = max(self._virtual_time, tag)
        return job, is_urgent
