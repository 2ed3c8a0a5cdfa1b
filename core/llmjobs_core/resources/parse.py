"""From the API server's objects to types: what an old server let through is refused here.

The rules that CEL enforces on the server are enforced here again; messages name the field and the
limit and never repeat a value, which may be a prompt.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from llmjobs_core.requests import (
    DEFAULT_LIMITS,
    InvalidRequest,
    RequestLimits,
    RequestShape,
    validate_request,
)
from llmjobs_core.resources.llmjob import LLMJob, LLMJobSpec
from llmjobs_core.resources.pool import LLMWorkerPool

_MAX_ERRORS = 5


class InvalidResource(ValueError):
    """A resource that can't be acted on; *field* is its path, the text says what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def _from_pydantic(error: ValidationError) -> InvalidResource:
    problems = [
        (".".join(str(part) for part in item["loc"]), item["msg"])
        for item in error.errors(include_input=False, include_url=False, include_context=False)
    ][:_MAX_ERRORS]
    field, message = problems[0]
    rest = "; ".join(f"{where}: {what}" for where, what in problems[1:])
    return InvalidResource(field, f"{message}; {rest}" if rest else message)


def parse_llmjob(body: Mapping[str, Any], limits: RequestLimits = DEFAULT_LIMITS) -> LLMJob:
    """Return the LLMJob that *body* holds; raises InvalidResource."""
    try:
        job = LLMJob.model_validate(_known_parts(body))
    except ValidationError as error:
        raise _from_pydantic(error) from error
    _check_job(job.spec, limits)
    return job


def parse_pool(body: Mapping[str, Any]) -> LLMWorkerPool:
    """Return the LLMWorkerPool that *body* holds; raises InvalidResource."""
    try:
        pool = LLMWorkerPool.model_validate(_known_parts(body))
    except ValidationError as error:
        raise _from_pydantic(error) from error
    engine = pool.spec.engine
    if sum(kind is not None for kind in (engine.vllm, engine.container, engine.external)) != 1:
        raise InvalidResource("spec.engine", "needs exactly one of vllm, container, external")
    if pool.spec.scaling.min_replicas > pool.spec.scaling.max_replicas:
        raise InvalidResource("spec.scaling.minReplicas", "must not be above maxReplicas")
    return pool


def _known_parts(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("metadata", "spec") if name in body}


def _check_job(spec: LLMJobSpec, limits: RequestLimits) -> None:
    if (spec.request is None) == (spec.batch is None):
        raise InvalidResource("spec", "needs exactly one of request and batch")
    if spec.request is not None:
        shape = request_shape(spec, limits)
        if spec.model and shape.model not in {"", spec.model}:
            raise InvalidResource("spec.request.body.model", "must be spec.model or absent")
    if spec.batch and (spec.batch.inline is None) == (spec.batch.config_map_ref is None):
        raise InvalidResource("spec.batch", "needs exactly one of inline and configMapRef")
    if not resolved_model(spec) and spec.pool_ref is None:
        raise InvalidResource("spec.model", "is needed, or poolRef, or request.body.model")


def request_shape(spec: LLMJobSpec, limits: RequestLimits = DEFAULT_LIMITS) -> RequestShape:
    """Return the shape of a job's single request; raises InvalidResource."""
    if spec.request is None:
        raise InvalidResource("spec.request", "is needed here")
    size = len(msgspec.json.encode(spec.request.body))
    if size > limits.body_bytes:
        raise InvalidResource("spec.request.body", f"is larger than {limits.body_bytes} bytes")
    try:
        return validate_request(spec.request.endpoint, spec.request.body, limits)
    except InvalidRequest as error:
        raise InvalidResource(f"spec.request.{error.field}", error.message) from error


def resolved_model(spec: LLMJobSpec) -> str:
    """Return the model that the job asks for; empty when only its pool is named."""
    if spec.model:
        return spec.model
    named = spec.request.body.get("model", "") if spec.request else ""
    return named if isinstance(named, str) else ""
