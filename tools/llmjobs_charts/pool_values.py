"""All values of charts/llmjobs-pool."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from llmjobs_charts.common import LocalReference, Name, Open, Placement, Texts, Values
from llmjobs_core.resources.pool import LLMWorkerPoolSpec
from llmjobs_core.resources.schema import build_schema


class Preset(StrEnum):
    """What to begin with."""

    NONE = ""
    VLLM = "vllm"
    VLLM_70B = "vllm-70b"
    EXTERNAL = "external"
    LLAMACPP_CPU = "llamacpp-cpu"


class CacheType(StrEnum):
    """What keeps a model's files."""

    PRESET = ""
    NONE = "none"
    EMPTY_DIR = "emptyDir"
    CLAIM = "claim"


def build_spec_schema() -> dict[str, Any]:
    """Return the schema of a pool's spec in which nothing is required, and nothing unknown."""
    return _loosen(build_schema(LLMWorkerPoolSpec))


def _loosen(node: dict[str, Any]) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in node.items()
        if name not in {"required", "default"} and not name.startswith("x-kubernetes")
    }
    if "properties" in kept:
        kept["properties"] = {name: _loosen(child) for name, child in kept["properties"].items()}
        kept["additionalProperties"] = False
    if isinstance(kept.get("items"), dict):
        kept["items"] = _loosen(kept["items"])
    return kept


class GPU(Values):
    """GPUs of each replica."""

    count: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0, description="How many each engine gets; the preset's when 0."
    )
    resource: str = Field(
        default="nvidia.com/gpu", description="The extended resource of the device plugin."
    )


class SharedMemory(Values):
    """Memory at /dev/shm, over which an engine's processes talk."""

    size: str = Field(
        default="", description="Its size; the preset's when empty. It counts as used memory."
    )


class ModelCache(Values):
    """Where the engine keeps the model it loads: its HOME, at /cache."""

    type: CacheType = Field(
        default=CacheType.PRESET,
        description="`claim`: a volume that outlives pods. `emptyDir`: each pod downloads anew. "
        "`none`. The preset's when empty.",
    )
    existing_claim: Name = Field(default="", description="A claim of yours instead of a new one.")
    size: str = Field(default="", description="Its size; the preset's when empty.")
    storage_class: Name = Field(default="", description="The default one when empty.")
    access_mode: str = Field(
        default="",
        description="`ReadWriteMany` where replicas are on several nodes; the preset's when empty.",
    )
    keep: bool = Field(default=True, description="Leave the claim at uninstall.")


class HuggingFace(Values):
    """The account that may load the model."""

    existing_secret: Name = Field(default="", description="A Secret with the token.")
    secret_key: str = Field(default="token", description="Its key.")


class PoolDisruptionBudget(Values):
    """How many workers an eviction may take at once."""

    enabled: bool = Field(
        default=True,
        description="Make one where `spec.scaling.maxReplicas` is above 1. Without one evictions "
        "are safe, too: jobs go on elsewhere; but all workers of a pool may go at once.",
    )
    max_unavailable: int | str = Field(default=1, description="Workers that may be gone at once.")


class PoolValues(Placement):
    """Values of charts/llmjobs-pool."""

    preset: Preset = Field(
        default=Preset.NONE,
        description="What to begin with: `vllm` (one GPU), `vllm-70b` (four GPUs with tensor "
        "parallelism), `external` (an API elsewhere), `llamacpp-cpu` (a small model without a "
        "GPU). Everything below is laid over it.",
    )
    pool_name: Annotated[str, Field(max_length=40)] = Field(
        default="", description="The pool's name; the release's when empty."
    )
    spec: Annotated[Open, WithJsonSchema(build_spec_schema())] = Field(
        default_factory=dict,
        description="Fields of LLMWorkerPool's spec "
        "([reference](../../docs/reference/llmworkerpool.md)), laid over the preset's.",
    )
    gpu: GPU = Field(default_factory=GPU, description="GPUs of each replica.")
    shared_memory: SharedMemory = Field(
        default_factory=SharedMemory, description="Memory at /dev/shm."
    )
    model_cache: ModelCache = Field(
        default_factory=ModelCache, description="Where the engine keeps the model it loads."
    )
    hugging_face: HuggingFace = Field(
        default_factory=HuggingFace, description="The account that may load the model."
    )
    run_as_user: Annotated[int, Field(ge=1, le=2_147_483_647)] = Field(
        default=65532, description="User and group of the pods; never root."
    )
    runtime_class_name: Name = Field(default="", description="The pods' RuntimeClass.")
    image_pull_secrets: list[LocalReference] = Field(
        default_factory=list, description="`name` of Secrets for the registry."
    )
    redis_ca_secret: Name = Field(
        default="",
        description="As `redis.external.caSecret` of charts/llmjobs: mounted at "
        "`/etc/llmjobs/redis` of the workers.",
    )
    extra_volumes: list[Open] = Field(
        default_factory=list, description="More volumes, as in a pod."
    )
    extra_volume_mounts: list[Open] = Field(
        default_factory=list, description="More mounts of the engine, as in a container."
    )
    pod_disruption_budget: PoolDisruptionBudget = Field(
        default_factory=PoolDisruptionBudget,
        description="How many workers an eviction may take at once.",
    )
    labels: Texts = Field(default_factory=dict, description="More labels on everything.")
    global_: Open = Field(
        default_factory=dict, alias="global", description="Set by a chart around this one."
    )
