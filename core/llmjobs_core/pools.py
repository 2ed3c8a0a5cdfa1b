"""A pool as the store sees it: what it serves, and what waits for it.

The operator publishes registrations; everybody reads them. Numbers that could not be read are
absent as a whole (the read raises), never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmjobs_core.names import PoolKey
from llmjobs_core.states import JobClass, JobState

HISTOGRAM_BOUNDS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)
"""Upper bounds of the store's histograms, in seconds; ``BUCKETS`` in the store's Lua library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRegistration:
    """What the operator says of a pool."""

    key: PoolKey
    models: tuple[str, ...]
    """Served model names."""
    concurrency: int = 1
    """Requests in flight per replica."""
    accepting: bool = True
    """False once the pool is being deleted: it is fed nothing, and new jobs are refused."""
    reason: str = ""
    """One word on why its jobs wait, when the pool itself is the cause (``ImagePullFailed``)."""
    message: str = ""
    """The same as a sentence; shown with each job that waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """One consistent reading of a pool."""

    registration: PoolRegistration
    backlog_jobs: int
    """Jobs with requests that were not handed to a worker yet."""
    queued: int
    """Requests that wait (batch lines counted each), dispatched or not, retries included."""
    dispatched: int
    """Of ``queued``: those already in the Celery queue."""
    running: int
    """Requests that workers hold: at an engine, or claimed for a slot that soon comes free."""
    slots: int
    """Slots of the workers that are alive."""
    workers: int
    """Worker processes that are alive."""
    queued_cost: int
    """Estimated tokens of ``queued``."""
    cost_per_s: float | None
    """Measured over about the last minute: estimated tokens completed; None if unknown."""
    requests_per_s: float | None
    oldest_queued_ms: int | None
    """When the job that waits longest was queued; None if none waits."""
    last_active_ms: int | None
    """When the pool last had something queued or running; None if never."""
    now_ms: int
    """The server's clock at the reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Where a queued job stands."""

    position: int | None
    """Jobs ahead of it in its pool; 0 is next. None when it is not in the backlog."""
    cost_ahead: int | None
    """Estimated tokens ahead of it, waiting or running; None as above."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A live worker process."""

    id: str
    pool: PoolKey
    slots: int
    running: int
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts by upper bound in seconds (``le``), cumulative is left to the reader."""

    buckets: Mapping[str, int]
    sum_s: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The store's truth for metrics; keys are (pool, class, ...)."""

    depth: Mapping[tuple[str, JobClass, JobState], int] = field(default_factory=dict)
    """Jobs that are there now, by pool, class and state."""
    outcomes: Mapping[tuple[str, JobClass, JobState, str], int] = field(default_factory=dict)
    """Jobs that ended, ever, by pool, class, state and reason."""
    submitted: Mapping[tuple[str, JobClass], int] = field(default_factory=dict)
    retries: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Requests run again, by pool and reason."""
    tokens: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Tokens by pool and type: ``prompt``, ``completion``, ``regenerated``."""
    requests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Requests that ended, by pool and outcome (``succeeded``, ``failed``, ``cancelled``)."""
    histograms: Mapping[tuple[str, str], Histogram] = field(default_factory=dict)
    """By metric (``queue_wait``, ``duration``, ``time_to_first_token``) and pool; seconds."""
