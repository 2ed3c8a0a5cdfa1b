"""What goes over HTTP: the one source of what is accepted, what is answered, and of their docs."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from llmjobs_core.jobs import DEFAULT_BACKOFF_LIMIT, DEFAULT_TTL_S
from llmjobs_core.requests import ENDPOINTS
from llmjobs_core.states import JobClass, JobState, Recovery

YEAR_S = 31_536_000
LABELS_MAX = 16

Name = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$(?!\n)")
]
Model = Annotated[str, Meta(min_length=1, max_length=256)]
Seconds = Annotated[int, Meta(ge=1, le=YEAR_S)]
Title = Annotated[str, Meta(max_length=253, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
LabelName = Annotated[
    str,
    Meta(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$(?!\n)"),
]
LabelValue = Annotated[
    str, Meta(max_length=63, pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$(?!\n)")
]
Labels = Annotated[dict[LabelName, LabelValue], Meta(max_length=LABELS_MAX)]
Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]


class JobOptions(Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What can be said of any job."""

    namespace: Name | None = None
    """The tenant; by default the caller's own."""
    pool: Name | None = None
    """The pool to run it; by default the one that serves the model."""
    job_class: JobClass = msgspec.field(default=JobClass.STANDARD, name="class")
    """How urgent it is."""
    name: Title = ""
    """A name for people."""
    labels: Labels = msgspec.field(default_factory=dict)
    """To find it again."""
    suspend: bool = False
    """Hold it until it is resumed."""
    backoff_limit: Annotated[int, Meta(ge=0, le=100)] = DEFAULT_BACKOFF_LIMIT
    """Failed attempts that are tried again."""
    recovery: Recovery = Recovery.RESUME
    """What happens to generated text when a worker is lost."""
    active_deadline_seconds: Seconds | None = None
    """Longest time from its first start to its end."""
    queue_deadline_seconds: Seconds | None = None
    """Longest time until its first start."""
    ttl_seconds: Annotated[int, Meta(ge=0, le=YEAR_S)] = DEFAULT_TTL_S
    """How long the record and results are kept after the end."""
    durable: Annotated[
        bool,
        Meta(
            description="Keep it as an LLMJob in the cluster, too: then it is run even if the job "
            "store loses everything. Its body has at most 1 MiB, a batch at most 512 KiB, and its "
            "labels must be valid in Kubernetes."
        ),
    ] = False


class JobRequest(JobOptions, forbid_unknown_fields=True, kw_only=True):
    """One job. Give ``body`` (an OpenAI request), or ``prompt`` for the simplest case."""

    model: Model | None = None
    """The model to run; by default what the body names, or the pool's first."""
    endpoint: Endpoint = "/v1/chat/completions"
    """Which OpenAI endpoint the body is for."""
    body: Annotated[Raw, Meta(extra_json_schema={"type": "object"})] | UnsetType = UNSET
    """The OpenAI request, passed to the engine as it is."""
    prompt: Annotated[str, Meta(min_length=1)] | None = None
    """Short for a body with one user message (or a prompt, or an input)."""
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    """Goes with ``prompt``: most tokens to generate."""


class ManyJobs(Struct, forbid_unknown_fields=True):
    """Several jobs in one request."""

    jobs: Annotated[list[JobRequest], Meta(min_length=1)]


class JobPatch(Struct, rename="camel", forbid_unknown_fields=True):
    """What can be changed of a job."""

    job_class: JobClass | None = msgspec.field(default=None, name="class")
    """Its class, and so its place in the backlog."""
    ttl_seconds: Annotated[int, Meta(ge=0, le=YEAR_S)] | None = None
    """How long it is kept after the end; also after it has ended."""


class GenerateRequest(Struct, kw_only=True, omit_defaults=True):
    """A prompt, and how to answer it."""

    prompt: Annotated[str, Meta(min_length=1)]
    model: Model | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    stop: str | list[str] | None = None


class Links(Struct, kw_only=True, omit_defaults=True):
    """Where to go from here."""

    self: str
    events: str
    ws: str
    text: str
    cancel: str
    result: str | None = None
    results: str | None = None


class SubmittedView(Struct, rename="camel", kw_only=True):
    """A job that was accepted."""

    id: str
    object: Literal["job"] = "job"
    state: JobState
    created: bool
    """False when the idempotency key named a job that was there already."""
    namespace: str
    pool: str
    model: str
    job_class: JobClass = msgspec.field(name="class")
    resource: Annotated[
        str, Meta(description="The name of its LLMJob; empty unless it is durable.")
    ] = ""
    requests: int = 1
    """Requests in the job: 1, or the lines of the batch."""
    links: Links


class SubmittedJobs(Struct):
    """The jobs that were accepted, in the order they came."""

    jobs: list[SubmittedView]


class RetriedView(Struct, rename="camel", omit_defaults=True):
    """What came of retrying one job."""

    retry_of: str
    """The job that had ended."""
    id: str = ""
    """The new job; left out where there is none."""
    created: bool = False
    """Left out where the job had been retried before: then ``id`` is that retry."""
    refusal: str = ""
    """Why there is no new job."""


class RetryReport(Struct, rename="camel", kw_only=True):
    """What came of retrying some jobs."""

    retried: int = 0
    """Jobs that were retried by this call."""
    already_retried: int = 0
    """Jobs that had been retried before, and were left alone."""
    refused: int = 0
    """Jobs that can't be retried; ``refusal`` of each says why."""
    remaining: int = 0
    """Jobs beyond these; with a label, at most so many."""
    next_cursor: str | None = None
    """Pass as ``cursor`` to go on with those; null when there are none."""
    jobs: list[RetriedView] = msgspec.field(default_factory=list)
    """Each of them, the newest first."""


class CountsView(Struct):
    """The requests of a job by state; a single job has one."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    retried: int
    """Times any request was run again."""


class UsageView(Struct, rename="camel"):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    regenerated_tokens: int
    """Completion tokens made again after a loss; not in the rest."""


class ErrorView(Struct):
    """Why a job failed."""

    code: str
    message: str


class JobView(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """A job as it is now. Times are UTC; a member that is not known or not yet is left out."""

    id: str
    object: Literal["job"] | UnsetType = UNSET
    kind: str
    name: str = ""
    namespace: str
    pool: str
    model: str
    endpoint: str
    job_class: JobClass = msgspec.field(name="class")
    state: JobState
    reason: str
    """Why it is in this state, in one word."""
    message: str
    """The same as a sentence."""
    position: int | None = None
    """Jobs ahead of it; 0 is next."""
    estimated_start_time: str | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    source: str
    """The door it came by: ``http`` or ``kubernetes``."""
    resource: Annotated[
        str,
        Meta(description="The name of its LLMJob, where it has one; its TTL is the LLMJob's then."),
    ] = ""
    user: str = ""
    attempts: int
    backoff_limit: int
    recovery: Recovery
    worker: str = ""
    retry_of: str = ""
    counts: CountsView
    tokens: int
    """Completion tokens so far."""
    usage: UsageView
    error: ErrorView | None = None
    active_deadline_seconds: int | None = None
    queue_deadline_seconds: int | None = None
    ttl_seconds: int
    created_time: str
    queued_time: str | None = None
    start_time: str | None = None
    first_token_time: str | None = None
    completion_time: str | None = None
    retry_time: str | None = None
    expiry_time: str | None = None
    result: Raw | UnsetType = UNSET
    """The OpenAI response; only where a submission waited for it."""
    links: Links


class JobList(Struct, rename="camel"):
    """Some jobs, newest first."""

    jobs: list[JobView]
    next_cursor: str | None
    """Pass as ``cursor`` for the next page; null after the last."""


class PoolView(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """A pool: what it serves, and what waits for it."""

    name: str
    namespace: str
    models: list[str]
    accepting: bool
    reason: str = ""
    message: str = ""
    jobs_waiting: int
    requests_queued: int
    requests_running: int
    slots: int
    workers: int
    requests_per_second: float | None = None
    """Measured over about the last minute; left out when unknown."""
    tokens_per_second: float | None = None
    oldest_queued_time: str | None = None


class PoolList(Struct):
    """The pools of a namespace."""

    pools: list[PoolView]


class TaskAccepted(Struct):
    """A task that was accepted."""

    task_id: str
    status: str


class TaskStatus(Struct, kw_only=True):
    """A task in the words of Celery, and of this system."""

    task_id: str
    status: str
    """``PENDING``, ``STARTED``, ``RETRY``, ``SUCCESS``, ``FAILURE`` or ``REVOKED``."""
    state: JobState
    reason: str
    message: str
    position: int | None = None
    result: str | None = None
    """The text, once the task has succeeded."""
    error: str | None = None


class TaskProgress(Struct, kw_only=True):
    """How far a task is."""

    task_id: str
    status: str
    progress: float | None
    """From 0 to 1; null while it can't be known."""
    tokens: int
    max_tokens: int | None
    text: str


class HealthView(Struct):
    """Whether this process can serve."""

    status: str
    redis: str


_CHOICES = {
    "class": tuple(JobClass),
    "recovery": tuple(Recovery),
    "endpoint": ENDPOINTS,
}


def explain_error(error: msgspec.ValidationError) -> tuple[str | None, str]:
    """Return the field and the sentence of a validation error."""
    text, _, path = str(error).partition(" - at `")
    field = path.rstrip("`").removeprefix("key` in `").removeprefix("$").removeprefix(".")
    if not field and "unknown field `" in text:
        field = text.partition("unknown field `")[2].rstrip("`")[:64]
    choices = _CHOICES.get(field.rpartition(".")[2]) if text.startswith("Invalid enum") else None
    if choices:
        text = f"must be one of {', '.join(choices)}"
    return field or None, f"{field}: {text}" if field else text


def build_components(types: list[Any]) -> dict[str, Any]:
    """Return the JSON schemas of *types* and all they use, for the OpenAPI document."""
    _, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    return components
