"""LLMJob: one request, or a batch of them, as a Kubernetes resource."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from llmjobs_core.resources.common import (
    DNS_LABEL,
    Conditions,
    ConfigMapKeyRef,
    Count,
    ModelName,
    ObjectMeta,
    PreservedObject,
    Resource,
    Seconds,
    Timestamp,
)
from llmjobs_core.states import JobClass, Recovery


class JobCondition(StrEnum):
    """Condition types of an LLMJob."""

    ACCEPTED = "Accepted"
    SUSPENDED = "Suspended"
    STARTED = "Started"
    COMPLETE = "Complete"
    FAILED = "Failed"
    FINISHED = "Finished"


class Request(Resource):
    """One OpenAI request."""

    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] = Field(
        default="/v1/chat/completions", description="Which OpenAI endpoint the body is for."
    )
    body: PreservedObject = Field(
        description="The OpenAI request body, passed to the engine as it is: `messages`, `prompt` "
        "or `input`, and any parameter that the engine knows. `model` may be left out; where it is "
        "given it must be the job's model. `stream` changes nothing: every job can be watched. "
        "At most 1 MiB as JSON."
    )


class Batch(Resource):
    """Many requests in OpenAI's batch format: exactly one of the sources."""

    inline: Annotated[str, Field(min_length=1, max_length=524_288)] | None = Field(
        default=None,
        description="The batch as JSON Lines: `custom_id`, `method` (POST), `url` (an endpoint) "
        "and `body` on each line. At most 512 KiB.",
    )
    config_map_ref: ConfigMapKeyRef | None = Field(
        default=None, description="A ConfigMap in the same namespace that holds the JSON Lines."
    )


class PoolRef(Resource):
    """An LLMWorkerPool in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)] = Field(
        description="Name of the LLMWorkerPool."
    )


class LLMJobSpec(Resource):
    """What to generate, where, and how patiently. Immutable but for the fields that say so."""

    request: Request | None = Field(
        default=None, description="One request. Exactly one of `request` and `batch`."
    )
    batch: Batch | None = Field(
        default=None, description="Many requests. Exactly one of `request` and `batch`."
    )
    model: ModelName | None = Field(
        default=None,
        description="Served model name; the pool in this namespace that serves it runs the job. "
        "May be left out where `request.body.model` or `poolRef` tells.",
    )
    pool_ref: PoolRef | None = Field(
        default=None,
        description="The pool that runs the job, whatever model it serves. With it, `model` "
        "defaults to the pool's first model.",
    )
    job_class: JobClass = Field(
        default=JobClass.STANDARD,
        alias="class",
        description="How urgent the job is. `interactive`: somebody waits, goes before all others. "
        "`standard`: weight 4. `batch`: weight 1, takes what is left and is never starved. "
        "May be changed.",
    )
    suspend: bool = Field(
        default=False,
        description="Hold the job: nothing of it runs until this is false again. Requests that run "
        "are stopped and go on from their checkpoint later. May be changed.",
    )
    cancel: bool = Field(
        default=False,
        description="End the job as cancelled and keep what it has made; it can't be taken back. "
        "(Deleting the LLMJob ends its work too, and removes everything.) May be changed.",
    )
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None,
        description="Seconds from the first start after which a job that has not ended expires. "
        "No limit when absent.",
    )
    queue_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None,
        description="Seconds in the queue after which a job that has not started expires. No limit "
        "when absent.",
    )
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3,
        description="How often in a row each request is tried again after a failure. A failure "
        "that comes further into the answer than any before begins the count anew; a lost worker "
        "or engine is no failure.",
    )
    recovery: Recovery = Field(
        default=Recovery.RESUME,
        description="What happens to text already generated when a worker is lost. `Resume`: "
        "another worker goes on from the last token. `Restart`: it begins again, and watchers are "
        "told with a `reset` event.",
    )
    ttl_seconds_after_finished: Seconds | None = Field(
        default=None,
        description="Seconds after its end at which the LLMJob is deleted, and its results with "
        "it. Kept until deleted when absent. May be changed.",
    )


class RequestCounts(Resource):
    """The job's requests by state; a single request counts as one."""

    total: Count = Field(default=0, description="All requests.")
    queued: Count = Field(default=0, description="Waiting.")
    running: Count = Field(default=0, description="At an engine now.")
    succeeded: Count = Field(default=0, description="Ended with a result.")
    failed: Count = Field(default=0, description="Ended with an error.")
    cancelled: Count = Field(default=0, description="Not run to their end.")
    retried: Count = Field(default=0, description="Times any was run again, for whatever cause.")


class TokenUsage(Resource):
    """Tokens of the whole job."""

    prompt_tokens: Count = Field(default=0, description="Tokens of the prompts.")
    completion_tokens: Count = Field(default=0, description="Tokens generated.")
    regenerated_tokens: Count = Field(
        default=0, description="Tokens generated again after a loss; not in `completionTokens`."
    )


class ResultRef(Resource):
    """Where the result can be read."""

    job_id: Annotated[str, Field(max_length=64)] = Field(
        default="", description="The job's id by HTTP."
    )
    path: Annotated[str, Field(max_length=256)] = Field(
        default="", description="Path of the result on the gateway."
    )


class LLMJobStatus(Resource):
    """What became of the job so far. Written by the operator only."""

    conditions: Conditions = Field(
        description="`Accepted` (valid, and a pool serves it), `Suspended`, `Started`, `Complete` "
        "(succeeded), `Failed`, and `Finished`, which is true at any end: "
        "`kubectl wait --for=condition=Finished`."
    )
    phase: Annotated[str, Field(max_length=32)] = Field(
        default="",
        description="The job's state in one word, for people; derived, never decide by it.",
    )
    reason: Annotated[str, Field(max_length=64)] = Field(
        default="", description="Why it is in this state, in one word."
    )
    message: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="Why it is in this state, in a sentence."
    )
    observed_generation: Count = Field(
        default=0, description="The `metadata.generation` that this status is about."
    )
    job_id: Annotated[str, Field(max_length=64)] = Field(
        default="", description="The job's id in the store and by HTTP."
    )
    pool: Annotated[str, Field(max_length=63)] = Field(
        default="", description="The LLMWorkerPool that runs it."
    )
    model: Annotated[str, Field(max_length=256)] = Field(
        default="", description="The model, as resolved."
    )
    counts: RequestCounts | None = Field(default=None, description="Requests by state.")
    progress: Annotated[str, Field(max_length=32)] = Field(
        default="", description="Requests ended of all, as `412/1000`."
    )
    tokens: Annotated[str, Field(max_length=16)] = Field(
        default="", description="Tokens generated so far, rounded, as `81k`."
    )
    position: Count | None = Field(
        default=None, description="Jobs ahead of it in its pool; 0 is next. Absent unless it waits."
    )
    estimated_start_time: Timestamp | None = Field(
        default=None,
        description="When it should start, by the pool's measured rate. Absent when unknown.",
    )
    usage: TokenUsage | None = Field(default=None, description="Tokens, once known.")
    attempts: Count = Field(
        default=0, description="Times a request of it was started at an engine."
    )
    worker: Annotated[str, Field(max_length=253)] = Field(
        default="", description="The worker that runs it or ran it last."
    )
    queued_time: Timestamp | None = Field(default=None, description="When it was queued.")
    start_time: Timestamp | None = Field(default=None, description="When it first started.")
    completion_time: Timestamp | None = Field(default=None, description="When it ended.")
    duration: Annotated[str, Field(max_length=16)] = Field(
        default="", description="From start to end, as `3m10s`; set at the end."
    )
    preview: Annotated[str, Field(max_length=256)] = Field(
        default="", description="The first characters of the text, set at the end."
    )
    result_ref: ResultRef | None = Field(default=None, description="Where the result can be read.")


class LLMJob(Resource):
    """A whole LLMJob, as read from the API server."""

    metadata: ObjectMeta
    spec: LLMJobSpec
    status: LLMJobStatus = Field(default_factory=LLMJobStatus)
