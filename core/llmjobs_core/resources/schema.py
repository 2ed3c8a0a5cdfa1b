"""From the resource types to CustomResourceDefinitions: pure, and the only place that knows how.

A structural schema has no ``$ref``, ``anyOf`` or ``title``; what pydantic writes is rewritten into
that form. Rules across fields are CEL, written here beside the parser that repeats them.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from llmjobs_core.names import GROUP, VERSION
from llmjobs_core.resources.llmjob import LLMJobSpec, LLMJobStatus
from llmjobs_core.resources.pool import LLMWorkerPoolSpec, LLMWorkerPoolStatus

_DROPPED = {"title", "$defs", "additionalProperties", "discriminator", "const"}

JOB_NAME_MAX = 63
POOL_NAME_MAX = 40
"""Leaves room for what Deployments and ReplicaSets add within a label's 63 characters."""

_MUTABLE_JOB_FIELDS = {"suspend", "cancel", "class", "ttlSecondsAfterFinished"}


def build_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return *model* as a structural OpenAPI v3 schema."""
    whole = model.model_json_schema(by_alias=True)
    return _structural(whole, whole.get("$defs", {}))


def _structural(node: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(node)
    if "$ref" in merged:
        target = types[merged.pop("$ref").rpartition("/")[2]]
        merged = {**target, **merged}
    if "anyOf" in merged:
        options = [option for option in merged.pop("anyOf") if option.get("type") != "null"]
        merged = {**_structural(options[0], types), **merged}
    if merged.get("default", "") is None:
        del merged["default"]
    if merged.get("default") in ({}, []):
        del merged["default"]
    if "const" in merged:
        merged["enum"] = [merged["const"]]
    if "properties" in merged:
        merged["properties"] = {
            name: _structural(child, types) for name, child in merged["properties"].items()
        }
    if isinstance(merged.get("items"), Mapping):
        merged["items"] = _structural(merged["items"], types)
    return {name: value for name, value in merged.items() if name not in _DROPPED}


def _without_defaults(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a status schema as the API server must have it: it fills in nothing.

    What it filled in would look to the operator like a change, and to people like a value.
    """
    plain = {name: value for name, value in node.items() if name != "default"}
    if "properties" in plain:
        plain["properties"] = {
            name: _without_defaults(child) for name, child in plain["properties"].items()
        }
    if isinstance(plain.get("items"), Mapping):
        plain["items"] = _without_defaults(plain["items"])
    return plain


def build_llmjob_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of LLMJob."""
    spec = build_schema(LLMJobSpec)
    spec["x-kubernetes-validations"] = [
        _rule("has(self.request) != has(self.batch)", "exactly one of request and batch"),
        _rule(
            "has(self.model) || has(self.poolRef) || (has(self.request) && "
            "has(self.request.body.model))",
            "model is needed, or poolRef, or request.body.model",
        ),
        _rule(
            "!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)",
            "a cancelled job can't be taken up again; create another LLMJob",
            path=".cancel",
        ),
        *(
            _rule(
                f"has(self.{name}) == has(oldSelf.{name}) && "
                f"(!has(self.{name}) || self.{name} == oldSelf.{name})",
                f"{name} can't be changed; create another LLMJob",
                path=f".{name}",
            )
            for name in spec["properties"]
            if name not in _MUTABLE_JOB_FIELDS
        ),
    ]
    spec["properties"]["batch"]["x-kubernetes-validations"] = [
        _rule("has(self.inline) != has(self.configMapRef)", "exactly one of inline, configMapRef")
    ]
    body = spec["properties"]["request"]["properties"]["body"]
    # CEL can only ask for a field that the schema names.
    body["properties"] = {"model": {"type": "string", "maxLength": 256}}
    columns = [
        _column("Status", ".status.phase"),
        _column("Reason", ".status.reason"),
        _column("Model", ".status.model"),
        _column("Class", ".spec.class"),
        _column("Progress", ".status.progress"),
        _column("Tokens", ".status.tokens"),
        _column("Position", ".status.position", kind="integer"),
        _column("Duration", ".status.duration"),
        _column("Age", ".metadata.creationTimestamp", kind="date"),
        _column("Pool", ".status.pool", wide=True),
        _column("Worker", ".status.worker", wide=True),
        _column("Attempts", ".status.attempts", kind="integer", wide=True),
        _column("Message", ".status.message", wide=True),
    ]
    version = _version(
        "One LLM request, or a batch of them, run on a pool of workers.",
        spec,
        build_schema(LLMJobStatus),
        name_max=JOB_NAME_MAX,
        columns=columns,
    )
    version["subresources"] = {"status": {}}
    version["selectableFields"] = [{"jsonPath": ".spec.model"}, {"jsonPath": ".spec.class"}]
    return _definition("LLMJob", "llmjobs", "llmjob", ["lj"], version)


def build_pool_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of LLMWorkerPool."""
    spec = build_schema(LLMWorkerPoolSpec)
    spec["properties"]["engine"]["x-kubernetes-validations"] = [
        _rule(
            "[has(self.vllm), has(self.container), has(self.external)].filter(x, x).size() == 1",
            "exactly one of vllm, container and external",
        )
    ]
    spec["properties"]["scaling"]["x-kubernetes-validations"] = [
        _rule("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas")
    ]
    for name in ("scaling", "retry"):
        fields = spec["properties"][name]["properties"]
        spec["properties"][name]["default"] = {
            field: child["default"] for field, child in fields.items() if "default" in child
        }
    columns = [
        _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        _column("Replicas", ".status.replicas", kind="integer"),
        _column("Desired", ".status.desiredReplicas", kind="integer"),
        _column("Queued", ".status.queued", kind="integer"),
        _column("Running", ".status.running", kind="integer"),
        _column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        _column("Age", ".metadata.creationTimestamp", kind="date"),
        _column("Models", ".spec.models", wide=True),
        _column("Scaling", ".status.scalingMessage", wide=True),
    ]
    version = _version(
        "Workers beside an engine, scaled by the work that waits for them.",
        spec,
        build_schema(LLMWorkerPoolStatus),
        name_max=POOL_NAME_MAX,
        columns=columns,
    )
    version["subresources"] = {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }
    return _definition("LLMWorkerPool", "llmworkerpools", "llmworkerpool", ["lwp"], version)


def _rule(rule: str, message: str, *, path: str = "") -> dict[str, str]:
    found = {"rule": rule, "message": message}
    return {**found, "fieldPath": path} if path else found


def _column(name: str, path: str, *, kind: str = "string", wide: bool = False) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    return {**column, "priority": 1} if wide else column


def _version(
    description: str,
    spec: dict[str, Any],
    status: dict[str, Any],
    *,
    name_max: int,
    columns: list[dict[str, Any]],
) -> dict[str, Any]:
    schema = {
        "description": description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": _without_defaults(status),
        },
        "x-kubernetes-validations": [
            _rule(
                f"size(self.metadata.name) <= {name_max}",
                f"the name must have at most {name_max} characters",
            )
        ],
    }
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns,
    }


def _definition(
    kind: str, plural: str, singular: str, short: list[str], version: dict[str, Any]
) -> dict[str, Any]:
    names = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": singular,
        "shortNames": short,
        "categories": ["llm"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }
