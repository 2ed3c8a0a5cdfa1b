"""What both charts' values share: the strict base model and Kubernetes' own small types."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Values(BaseModel):
    """Base of every group of values: camelCase outside, nothing unknown, a default for all."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid"
    )


Open = dict[str, Any]
"""An object of Kubernetes' own, passed through as it is; the API server checks it."""
Texts = dict[str, str]
"""Labels, annotations and the like."""
Name = Annotated[str, Field(max_length=253)]
"""The name of an object; empty for none."""
Port = Annotated[int, Field(ge=1, le=65_535)]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
Quantity = str | int | float
"""An amount as Kubernetes writes it: ``500m``, ``2``, ``1Gi``."""


class PullPolicy(StrEnum):
    """When a node fetches an image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Image(Values):
    """An image by tag, and by digest where one is given."""

    repository: Annotated[str, Field(min_length=1)] = Field(
        default="llmjobs", description="Registry and repository."
    )
    tag: str = Field(default="", description="The chart's `appVersion` when empty.")
    digest: Annotated[str, Field(pattern="^(sha256:[0-9a-f]{64})?$")] = Field(
        default="", description="`sha256:…`; pins the image whatever the tag says."
    )


class PulledImage(Image):
    """An image of which this chart makes containers itself."""

    pull_policy: PullPolicy = Field(
        default=PullPolicy.IF_NOT_PRESENT, description="When a node fetches it."
    )


class ResourceAmounts(Values):
    """What a container asks for and may use."""

    requests: dict[str, Quantity] = Field(
        default_factory=dict, description="What the scheduler sets aside."
    )
    limits: dict[str, Quantity] = Field(default_factory=dict, description="The most it may use.")


class LocalReference(Values):
    """An object of the release's namespace, by its name."""

    name: Annotated[str, Field(min_length=1, max_length=253)]


class Variable(Values):
    """One environment variable, as in a container."""

    name: Annotated[str, Field(min_length=1, pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
    value: str | None = None
    value_from: Open | None = None


class Toleration(Values):
    """A taint that pods put up with, as in a pod."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


class Placement(Values):
    """Where pods run."""

    node_selector: Texts = Field(default_factory=dict, description="Labels the node must have.")
    tolerations: list[Toleration] = Field(
        default_factory=list, description="Taints that the pods put up with."
    )
    affinity: Open = Field(default_factory=dict, description="Affinity, as in a pod.")
    priority_class_name: Name = Field(default="", description="The pods' PriorityClass.")


_SPREAD: list[Open] = [
    {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway"}
    for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
]


class Component(Placement):
    """What can be set of each Deployment of ours."""

    topology_spread_constraints: list[Open] = Field(
        default=_SPREAD,
        description="How the pods are spread; the pods' own labels are filled in where a "
        "constraint has no `labelSelector`.",
    )
    pod_labels: Texts = Field(default_factory=dict, description="More labels for the pods.")
    pod_annotations: Texts = Field(
        default_factory=dict, description="More annotations for the pods."
    )
    extra_env: list[Variable] = Field(
        default_factory=list,
        description="More environment; a name that the chart sets too is set once, to this.",
    )
    resources: ResourceAmounts = Field(
        default_factory=ResourceAmounts, description="What the container asks for and may use."
    )


class ServiceAccount(Values):
    """The account that pods run as."""

    create: bool = Field(default=True, description="Make it; when false, `name` must exist.")
    name: Name = Field(default="", description="Its name; made up when empty.")
    annotations: Texts = Field(default_factory=dict, description="Annotations for it.")
