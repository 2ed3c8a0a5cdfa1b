"""The job's states and the transitions between them: the one place that says what is legal.

The store's Lua scripts perform the transitions; this table is what they are tested against.
"""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job is. A terminal state never changes."""

    PENDING = "Pending"
    """Its input is still being written (a batch that is streamed in); nothing runs yet."""
    SUSPENDED = "Suspended"
    """Held by its owner; keeps its checkpoint."""
    QUEUED = "Queued"
    """Waits for a slot, or for its retry time."""
    RUNNING = "Running"
    """At least one request of it is at an engine."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"
    """A deadline of the job passed."""

    @property
    def is_terminal(self) -> bool:
        """Whether the state is final."""
        return self in TERMINAL_STATES


TERMINAL_STATES = frozenset(
    {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}
)

_ENDINGS = {JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.SUSPENDED, JobState.QUEUED, *_ENDINGS}),
    JobState.SUSPENDED: frozenset({JobState.PENDING, JobState.QUEUED, *_ENDINGS}),
    JobState.QUEUED: frozenset({JobState.SUSPENDED, JobState.RUNNING, *_ENDINGS}),
    JobState.RUNNING: frozenset(
        {JobState.SUSPENDED, JobState.QUEUED, JobState.SUCCEEDED, *_ENDINGS}
    ),
    **{state: frozenset() for state in TERMINAL_STATES},
}


class JobClass(StrEnum):
    """How urgent a job is; sets its weight in the fair backlog."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BATCH = "batch"


CLASS_WEIGHTS: dict[JobClass, int] = {
    JobClass.INTERACTIVE: 16,
    JobClass.STANDARD: 4,
    JobClass.BATCH: 1,
}
"""Share of a pool's work when all classes wait (arbitrary; ratios matter, not values)."""


class Recovery(StrEnum):
    """What happens to generated text when a job moves to another worker."""

    RESUME = "Resume"
    RESTART = "Restart"


class JobSource(StrEnum):
    """The door by which a job came in."""

    HTTP = "http"
    KUBERNETES = "kubernetes"


class JobReason(StrEnum):
    """Why a job is in its state, in one word; ``message`` says it in a sentence."""

    SUBMITTED = "Submitted"
    AWAITING_INPUT = "AwaitingInput"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    GENERATING = "Generating"
    RETRYING = "Retrying"
    LEASE_LOST = "LeaseLost"
    ENGINE_LOST = "EngineLost"
    ENGINE_UNHEALTHY = "EngineUnhealthy"
    DRAINED = "Drained"
    CROWDED = "Crowded"
    SUCCEEDED = "Succeeded"
    CANCELLED = "Cancelled"
    REQUEST_FAILED = "RequestFailed"
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    POISONED = "Poisoned"
    SOME_LINES_FAILED = "SomeLinesFailed"
    INPUT_ABANDONED = "InputAbandoned"
    QUEUE_DEADLINE_EXCEEDED = "QueueDeadlineExceeded"
    ACTIVE_DEADLINE_EXCEEDED = "ActiveDeadlineExceeded"
