"""The pods of a pool: when they are ready, what runs in each, and which go first."""

from collections import deque
from dataclasses import dataclass, field

COLD_START_S = 75.0
"""From the decision to a pod that takes work: a node is there, the model must be loaded."""


@dataclass(eq=False, slots=True)
class Pod:
    """One replica."""

    ready_at_s: float
    running: set[int] = field(default_factory=set)
    is_alive: bool = True
    is_listening: bool = False
    """Whether it waits for a message."""


class Fleet:
    """All pods, by how many requests each runs; GPU-seconds are counted from creation to end."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.gpu_s = 0.0
        self._starting: deque[Pod] = deque()
        self._by_load: list[dict[Pod, None]] = [{} for _ in range(concurrency + 1)]
        self._listening: deque[Pod] = deque()
        self._counted_to_s = 0.0
        self.ready = 0

    @property
    def size(self) -> int:
        """Pods there are, starting ones included."""
        return self.ready + len(self._starting)

    @property
    def slots(self) -> int:
        """Slots of the pods that are ready."""
        return self.ready * self.concurrency

    @property
    def next_ready_s(self) -> float:
        """When the next pod is ready."""
        return self._starting[0].ready_at_s if self._starting else float("inf")

    def count_to(self, now_s: float) -> None:
        """Count the GPU time up to *now_s*."""
        self.gpu_s += self.size * (now_s - self._counted_to_s)
        self._counted_to_s = now_s

    def grow(self, count: int, now_s: float) -> None:
        """Create *count* pods."""
        self.count_to(now_s)
        self._starting.extend(Pod(now_s + COLD_START_S) for _ in range(count))

    def admit(self, now_s: float) -> None:
        """Let the pods take work that are ready by now."""
        while self._starting and self._starting[0].ready_at_s <= now_s:
            pod = self._starting.popleft()
            self.ready += 1
            self._by_load[0][pod] = None
            self._listen(pod)

    def shrink(self, count: int, now_s: float) -> list[int]:
        """End *count* pods: first those that start, then those that run least.

        Returns the requests that were running there: each is handed back with its checkpoint.
        """
        self.count_to(now_s)
        moved: list[int] = []
        for _ in range(count):
            if self._starting:
                self._starting.pop()
                continue
            pods = next(pods for pods in self._by_load if pods)
            pod = pods.popitem()[0]
            pod.is_alive = False
            self.ready -= 1
            moved.extend(pod.running)
        return moved

    def find_free(self) -> Pod | None:
        """Return the pod that waits longest for a message, as BRPOP serves them."""
        while self._listening:
            pod = self._listening[0]
            if pod.is_alive and len(pod.running) < self.concurrency:
                return pod
            self._listening.popleft()
            pod.is_listening = False
        return None

    def start(self, pod: Pod, job: int) -> None:
        """Let the pod that `find_free` gave run *job*."""
        load = len(pod.running)
        pod.running.add(job)
        del self._by_load[load][pod]
        self._by_load[load + 1][pod] = None
        self._listening.popleft()
        pod.is_listening = False
        if load + 1 < self.concurrency:
            self._listen(pod)

    def end(self, pod: Pod, job: int) -> None:
        """*job* does not run at *pod* any more."""
        load = len(pod.running)
        pod.running.remove(job)
        del self._by_load[load][pod]
        self._by_load[load - 1][pod] = None
        if not pod.is_listening:
            self._listen(pod)

    def _listen(self, pod: Pod) -> None:
        pod.is_listening = True
        self._listening.append(pod)
