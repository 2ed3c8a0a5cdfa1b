"""What both resources share: the base model, conditions, references, bounded types."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
"""A duration in whole seconds, up to a year."""
ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
ModelName = Annotated[str, Field(min_length=1, max_length=256)]
PreservedObject = Annotated[
    dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
]
"""An object passed through as it is."""
Count = Annotated[int, Field(ge=0)]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Resource(BaseModel):
    """Base of every type in a resource: camelCase outside, frozen, nothing unknown."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid"
    )


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Resource):
    """One aspect of the object's state, as in metav1.Condition."""

    type: Annotated[str, Field(max_length=316)] = Field(description="Which aspect.")
    status: ConditionStatus = Field(description="Whether it holds: `True`, `False`, `Unknown`.")
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="Why, in one CamelCase word."
    )
    message: Annotated[str, Field(max_length=4096)] = Field(
        default="", description="Why, in a sentence for people."
    )
    last_transition_time: Timestamp = Field(description="When `status` last changed.")
    observed_generation: Count = Field(
        default=0, description="The `metadata.generation` that this was made from."
    )


Conditions = Annotated[
    list[Condition],
    Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]


class SecretKeyRef(Resource):
    """A key of a Secret in the object's namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="Key within the Secret."
    )


class ConfigMapKeyRef(Resource):
    """A key of a ConfigMap in the object's namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        default="batch.jsonl", description="Key within the ConfigMap."
    )


class ObjectMeta(BaseModel):
    """The parts of metadata that are read here."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    name: str
    namespace: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: list[str] = Field(default_factory=list)
