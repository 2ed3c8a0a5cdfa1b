"""LLMWorkerPool: workers beside an engine, scaled by the work that waits for them."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from llmjobs_core.resources.common import (
    Conditions,
    Count,
    ModelName,
    ObjectMeta,
    PreservedObject,
    Resource,
    Seconds,
    SecretKeyRef,
    Timestamp,
)

Arguments = Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=64)]
Image = Annotated[str, Field(min_length=1, max_length=512)]
PathText = Annotated[str, Field(min_length=1, max_length=256, pattern="^/")]
Port = Annotated[int, Field(ge=1, le=65_535)]
PreservedList = Annotated[
    list[dict[str, Any]],
    Field(
        default_factory=list,
        max_length=64,
        json_schema_extra={
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        },
    ),
]


class PoolCondition(StrEnum):
    """Condition types of an LLMWorkerPool."""

    READY = "Ready"
    STALLED = "Stalled"
    SCALING_ACTIVE = "ScalingActive"


class ScalingMode(StrEnum):
    """Who decides on the number of replicas."""

    AUTOMATIC = "automatic"
    EXTERNAL = "external"


class VLLMEngine(Resource):
    """vLLM, run beside each worker."""

    model: ModelName = Field(description="The model to load: a hub id or a path in the container.")
    image: Image = Field(
        default="vllm/vllm-openai:latest",
        description="vLLM's image; name a fixed version in production.",
    )
    args: Arguments = Field(
        default_factory=list, description="More arguments for `vllm serve`, one string each."
    )
    env: PreservedList = Field(description="Environment of the engine, as in a container.")
    resources: PreservedObject = Field(
        default_factory=dict, description="Resources of the engine, as in a container: its GPUs."
    )
    startup_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=1800, description="Longest time from start to a healthy engine, in seconds."
    )


class ContainerEngine(Resource):
    """Any container that speaks OpenAI's API, run beside each worker."""

    image: Image = Field(description="The engine's image.")
    command: Arguments = Field(
        default_factory=list, description="Replaces the image's entry point."
    )
    args: Arguments = Field(default_factory=list, description="Arguments, one string each.")
    env: PreservedList = Field(description="Environment of the engine, as in a container.")
    port: Port = Field(default=8000, description="The port it serves on.")
    health_path: PathText = Field(
        default="/health", description="Answers 200 when it can take requests."
    )
    resources: PreservedObject = Field(
        default_factory=dict, description="Resources of the engine, as in a container."
    )
    startup_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=600, description="Longest time from start to a healthy engine, in seconds."
    )


class ExternalEngine(Resource):
    """An OpenAI-compatible service elsewhere; the pool's pods hold workers only."""

    base_url: Annotated[str, Field(alias="baseURL", max_length=2048, pattern="^https?://")] = Field(
        description="The service's address, without `/v1`."
    )
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None, description="The API key, sent as a bearer token."
    )
    health_path: PathText | None = Field(
        default=None,
        description="Answers 200 when it can take requests; when absent it is taken to be healthy.",
    )


class Engine(Resource):
    """Exactly one kind of engine."""

    vllm: VLLMEngine | None = Field(default=None, description="vLLM beside the worker.")
    container: ContainerEngine | None = Field(
        default=None, description="Any OpenAI-compatible server beside the worker."
    )
    external: ExternalEngine | None = Field(
        default=None, description="An OpenAI-compatible service elsewhere."
    )


class Scaling(Resource):
    """How the number of replicas follows the work."""

    mode: ScalingMode = Field(
        default=ScalingMode.AUTOMATIC,
        description="`automatic`: by the work that waits and runs. `external`: another controller "
        "(KEDA, a HorizontalPodAutoscaler) decides, by the scale subresource of the pool; what "
        "automatic scaling would do is only published.",
    )
    min_replicas: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="Never fewer. 0 lets an idle pool go to zero."
    )
    max_replicas: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="Never more."
    )
    target_per_replica: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="Requests, waiting and running, that one replica should have. Defaults to "
        "`concurrency`.",
    )
    target_drain_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = Field(
        default=None,
        description="Seconds in which what waits should be worked off, by the measured rate of a "
        "replica. Once a rate is known it takes the place of `targetPerReplica`.",
    )
    idle_seconds_to_zero: Seconds = Field(
        default=300,
        description="Seconds without any work after which the pool goes to `minReplicas`.",
    )
    scale_up_stabilization_seconds: Seconds = Field(
        default=0, description="Seconds for which a higher need must last before it is met."
    )
    scale_down_stabilization_seconds: Seconds = Field(
        default=60,
        description="Seconds for which a lower need must last before replicas are taken away.",
    )
    paused: bool = Field(
        default=False, description="Leave the number of replicas as it is, whatever waits."
    )


class RetryPolicy(Resource):
    """When a failed request is tried again: exponential, with full jitter."""

    base_milliseconds: Annotated[int, Field(ge=1, le=3_600_000)] = Field(
        default=500, description="The first delay is a random time up to this, in milliseconds."
    )
    cap_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=60, description="No delay is longer, in seconds, but for the engine's Retry-After."
    )


class Worker(Resource):
    """The llmjobs worker in each pod."""

    image: Image | None = Field(
        default=None, description="The worker's image; the operator's own default when absent."
    )
    resources: PreservedObject = Field(
        default_factory=dict, description="Resources of the worker, as in a container."
    )
    env: PreservedList = Field(description="More environment for the worker.")


class LLMWorkerPoolSpec(Resource):
    """Which models are served, by what engine, and how the pool scales."""

    models: Annotated[list[ModelName], Field(min_length=1, max_length=16)] = Field(
        description="Model names that jobs ask for; the first is the default."
    )
    engine: Engine = Field(description="What generates. Exactly one kind.")
    concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=16, description="Requests in flight per replica."
    )
    replicas: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None,
        description="A fixed number of replicas, as `kubectl scale` sets it: automatic scaling "
        "stands still until the field is removed. The operator never writes it.",
    )
    scaling: Scaling = Field(
        default_factory=Scaling, description="How the number of replicas follows the work."
    )
    retry: RetryPolicy = Field(
        default_factory=RetryPolicy, description="When a failed request is tried again."
    )
    worker: Worker = Field(default_factory=Worker, description="The llmjobs worker in each pod.")
    template: PreservedObject = Field(
        default_factory=dict,
        description="Laid over the pod template that the operator makes: objects are merged, "
        "containers and other named lists by name, other lists replaced.",
    )


class LLMWorkerPoolStatus(Resource):
    """What the pool is doing. Written by the operator only."""

    conditions: Conditions = Field(
        description="`Ready` (it can run jobs, or would as soon as one comes), `Stalled` (it can't "
        "go on by itself), `ScalingActive` (replicas follow the work)."
    )
    observed_generation: Count = Field(
        default=0, description="The `metadata.generation` that this status is about."
    )
    replicas: Count = Field(default=0, description="Pods there are.")
    ready_replicas: Count = Field(default=0, description="Pods that are ready.")
    desired_replicas: Count = Field(default=0, description="Pods that were decided on.")
    selector: Annotated[str, Field(max_length=512)] = Field(
        default="", description="Label selector of the pods, for the scale subresource."
    )
    queued: Count | None = Field(
        default=None, description="Requests that wait. Absent when unknown."
    )
    running: Count | None = Field(
        default=None,
        description="Requests that workers hold: at an engine, or claimed for a "
        "slot that is about to come free. Absent when unknown.",
    )
    last_scale_time: Timestamp | None = Field(
        default=None, description="When the number of replicas was last changed."
    )
    scaling_message: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="The last scaling decision, in words."
    )


class LLMWorkerPool(Resource):
    """A whole LLMWorkerPool, as read from the API server."""

    metadata: ObjectMeta
    spec: LLMWorkerPoolSpec
    status: LLMWorkerPoolStatus = Field(default_factory=LLMWorkerPoolStatus)
