"""A job as values: what is submitted, what is stored, what is seen.

Nothing here does I/O. Times are server milliseconds since the epoch; None means «not yet».
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from llmjobs_core.names import PoolKey, UnitRef
from llmjobs_core.states import JobClass, JobSource, JobState, Recovery

DEFAULT_TTL_S = 86_400
DEFAULT_BACKOFF_LIMIT = 3


class JobKind(StrEnum):
    """How many requests the job holds."""

    REQUEST = "request"
    BATCH = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to submit; already validated and resolved to a pool."""

    id: str
    pool: PoolKey
    """The pool that runs it; its namespace is the job's namespace (the tenant)."""
    model: str
    kind: JobKind = JobKind.REQUEST
    endpoint: str = "/v1/chat/completions"
    body: bytes = b""
    """The OpenAI request as JSON; empty for a batch, whose lines follow."""
    cost: int = 1
    """Estimated tokens, >= 1; for a batch the estimate of one line (see append_lines)."""
    job_class: JobClass = JobClass.STANDARD
    flow: str = ""
    """Who shares the pool fairly: jobs of one flow delay each other; empty for the namespace."""
    namespace_weight: int = 1
    name: str = ""
    """A name for people: the LLMJob's name, or what the HTTP client gave; may be empty."""
    labels: Mapping[str, str] = field(default_factory=dict)
    source: JobSource = JobSource.HTTP
    owner: str = ""
    """The LLMJob's UID when it came by Kubernetes; such jobs appear in the change stream."""
    resource: str = ""
    """The LLMJob's name, where there is one."""
    user: str = ""
    """Who submitted it, as authenticated."""
    suspend: bool = False
    resubmitted: bool = False
    """Whether the store had it before and lost it: its watchers are told with ``reset``."""
    backoff_limit: int = DEFAULT_BACKOFF_LIMIT
    recovery: Recovery = Recovery.RESUME
    active_deadline_s: int | None = None
    queue_deadline_s: int | None = None
    ttl_s: int = DEFAULT_TTL_S
    """Seconds that the record is kept after the end; < 0 keeps it until it is deleted."""
    retry_of: str = ""
    idempotency_key: str = ""
    """Unique within namespace; empty for none. LLMJobs use their UID."""
    fingerprint: str = ""
    """Digest of the request; the same key with another fingerprint is refused."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What submit did."""

    job_id: str
    created: bool
    """False when the idempotency key named a job that was there already."""
    state: JobState


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One line of a batch, already validated."""

    custom_id: str
    endpoint: str
    body: bytes
    cost: int = 1


@dataclass(frozen=True, slots=True)
class Counts:
    """The requests of a job by state; a single job has total 1."""

    total: int = 0
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    """Times any request was run again, for whatever cause."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens; ``regenerated`` are completion tokens made again after a loss, not in the rest."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    regenerated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a request or job failed."""

    code: str
    """A short machine word: engine's error code, ``http_400``, ``lease_lost``, ..."""
    message: str
    """A sentence for people, bounded; never the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as stored, without its body, text and results."""

    id: str
    pool: PoolKey
    model: str
    kind: JobKind
    endpoint: str
    job_class: JobClass
    name: str
    labels: Mapping[str, str]
    source: JobSource
    owner: str
    """The LLMJob's UID; empty without one."""
    resource: str
    """The LLMJob's name; empty without one."""
    user: str
    recovery: Recovery
    state: JobState
    reason: str
    message: str
    attempts: int
    """Times a request of it was started at an engine; for a batch, over all lines."""
    backoff_limit: int
    cost: int
    counts: Counts
    usage: Usage
    error: JobError | None
    worker: str
    """The worker that runs it or ran it last; empty for a batch."""
    retry_of: str
    active_deadline_s: int | None
    queue_deadline_s: int | None
    ttl_s: int
    created_ms: int
    queued_ms: int | None
    started_ms: int | None
    first_token_ms: int | None
    finished_ms: int | None
    not_before_ms: int | None
    """When a retry may start; None unless it waits for one."""
    expires_ms: int | None
    """When the record is removed; None before the end."""
    tokens: int
    """Completion tokens so far, of all requests."""

    @property
    def namespace(self) -> str:
        """The tenant."""
        return self.pool.namespace


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first."""

    jobs: tuple[JobRecord, ...]
    next_cursor: str | None
    """What to pass for the next page; None after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One request that this worker now owns, until its lease ends."""

    ref: UnitRef
    fence: int
    """Goes with every write about this request; an old one is refused."""
    pool: PoolKey
    model: str
    endpoint: str
    body: bytes
    recovery: Recovery
    attempt: int
    """1 for the first start."""
    failures: int
    """Failed attempts so far, of ``backoff_limit``."""
    backoff_limit: int
    custom_id: str
    """The batch line's; empty for a single job."""
    job_class: JobClass
    text: str
    """Checkpoint: text already delivered; empty at a fresh start."""
    token_ids: tuple[int, ...]
    """Checkpoint: the generated token ids behind ``text``; empty if the engine gives none."""
    tokens: int
    """Checkpoint: how many tokens ``text`` has."""
    prompt_token_ids: tuple[int, ...]
    regenerated: int = 0
    """Tokens of earlier answers that were made void, by all restarts so far."""
    is_partial: bool = False
    """Checkpoint: more than ``text`` was generated (reasoning, a tool call), so it is no
    beginning that could be continued."""


class ProgressUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What one request produced since the last update.

    A struct, made in a tenth of what a frozen dataclass takes: there is one a stream a tick.
    """

    ref: UnitRef
    fence: int
    text: str = ""
    """New text, to append to the checkpoint and to send to watchers."""
    token_ids: tuple[int, ...] = ()
    tokens: int = 0
    """How many tokens ``text`` has."""
    prompt_token_ids: tuple[int, ...] = ()
    """Set once, when the engine has told them."""
    reset: bool = False
    """Drop all text so far first: no prefix could be continued. Watchers get ``reset``."""
    regenerated: int = 0
    """With ``reset``: the tokens made void by this and all earlier restarts."""
    is_partial: bool = False
    """More than ``text`` was generated; holds for the checkpoint until the next ``reset``."""
    at: int = -1
    """UTF-8 bytes of the checkpoint's text before this update, so that sending it twice is
    harmless; -1 does not check."""
    tokens_at: int = -1
    """Tokens of the checkpoint before this update: the same for one without text."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A request that is not this worker's any more."""

    ref: UnitRef
    cancelled: bool
    """True when its job ended or was suspended; False when another worker may have it."""
    behind: bool = False
    """True when it is still this worker's, but the store has less text than was sent (Redis lost
    its last second): send the whole text again, with ``reset``."""


@dataclass(frozen=True, slots=True)
class UnitResult:
    """The stored result of one request."""

    line: int
    """0 for a single job."""
    status_code: int
    """The engine's HTTP status; 0 when there was no answer."""
    body: bytes
    """The OpenAI response as JSON, or an OpenAI error object."""
    ok: bool


@dataclass(frozen=True, slots=True)
class ReapReport:
    """What one pass put right."""

    recovered: int = 0
    """Requests whose lease had ended and that were sent again."""
    poisoned: int = 0
    expired: int = 0
    resent: int = 0
    promoted: int = 0
    """Retries whose time had come."""
    removed: int = 0
    """Jobs deleted after their TTL."""
    skipped: bool = False
    """True when another process made a pass a moment ago."""
