"""From an HTTP request to a job in the store: validated, resolved to a pool, submitted once."""

import hashlib
import time
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.requests import Request

from llmjobs_api.bodies import read_body, require_json
from llmjobs_api.context import Gateway
from llmjobs_api.durable import (
    check_labels,
    limit_to_resource,
    require_resources,
    submit_durable,
)
from llmjobs_api.identity import Principal, Resource, Verb
from llmjobs_api.problems import Problem, from_store_error, too_large
from llmjobs_api.schemas import JobOptions, JobRequest, ManyJobs, explain_error
from llmjobs_core.errors import LLMJobsError, PoolNotFound
from llmjobs_core.jobs import JobKind, NewJob, Submitted
from llmjobs_core.names import PoolKey, build_job_id
from llmjobs_core.requests import InvalidRequest, RequestLimits, parse_body, validate_request

KEY_MAX = 255
_KEY_SCOPE = "http:"
"""In front of clients' idempotency keys, so that none can pose as an LLMJob's UID."""

_one_decoder = msgspec.json.Decoder(JobRequest)
_many_decoder = msgspec.json.Decoder(ManyJobs)
_PROMPT_FIELD = {"/v1/completions": "prompt", "/v1/embeddings": "input"}


def parse_idempotency_key(header: str | None) -> str:
    """Return the key, given quoted or not; empty for none. Raises the 400 problem.

    Source: draft-ietf-httpapi-idempotency-key-header, which quotes it; most clients do not.
    """
    if header is None:
        return ""
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not 1 <= len(key) <= KEY_MAX or not key.isascii() or not key.isprintable():
        raise Problem(
            400,
            "invalid_idempotency_key",
            f"Idempotency-Key must have 1 to {KEY_MAX} printable ASCII characters",
            param="Idempotency-Key",
        )
    return _KEY_SCOPE + key


def invalid_request(error: InvalidRequest) -> Problem:
    """Return the answer to a request that every engine would refuse."""
    return Problem(422, "invalid_request", str(error), param=error.field or None)


def decode_json(data: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Return the decoded body; raises the 400 problem for bad JSON and 422 for wrong fields."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        field, text = explain_error(error)
        raise Problem(422, "invalid_request", text, param=field) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        detail = f"the body is not valid JSON: {str(error)[:200]}"
        raise Problem(400, "invalid_json", detail, param="body") from error
    except RecursionError as error:
        raise Problem(400, "invalid_json", "the body is nested too deeply", param="body") from error


async def read_jobs(gateway: Gateway, request: Request) -> tuple[list[JobRequest], bool]:
    """Return the jobs that the request's JSON body asks for, and whether it was a list."""
    require_json(request)
    data = await read_body(request, gateway.settings.max_body_bytes)
    if not _is_many(data):
        return [decode_json(data, _one_decoder)], False
    jobs = decode_json(data, _many_decoder).jobs
    if len(jobs) > gateway.settings.max_jobs_per_request:
        limit = gateway.settings.max_jobs_per_request
        raise Problem(422, "too_many_jobs", f"jobs has more than {limit} items", param="jobs")
    return jobs, True


class _Shape(msgspec.Struct):
    jobs: msgspec.Raw | msgspec.UnsetType = UNSET


def _is_many(data: bytes) -> bool:
    if b'"jobs"' not in data:
        return False
    try:
        return msgspec.json.decode(data, type=_Shape).jobs is not UNSET
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def build_body(request: JobRequest, limits: RequestLimits, where: str) -> dict[str, Any]:
    """Return the OpenAI body of a job: the given one, or one made from its prompt."""
    if request.body is not UNSET:
        if request.prompt is not None or request.max_tokens is not None:
            field = "prompt" if request.prompt is not None else "maxTokens"
            raise Problem(
                422, "invalid_request", f"{where}{field} can't go with body", param=where + field
            )
        data = bytes(request.body)
        if len(data) > limits.body_bytes:
            raise too_large(f"{where}body", limits.body_bytes)
        return parse_body(data, limits)
    if request.prompt is None:
        detail = f"{where}body is required, or {where}prompt for the simplest case"
        raise Problem(422, "invalid_request", detail, param=f"{where}body")
    content = _PROMPT_FIELD.get(request.endpoint)
    body: dict[str, Any] = (
        {content: request.prompt}
        if content
        else {"messages": [{"role": "user", "content": request.prompt}]}
    )
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    return body


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job to submit, and how."""

    job: NewJob
    names_pool: bool
    """Whether the client named the pool; else it is the one that serves the model."""
    durable: bool


async def plan_job(
    gateway: Gateway, principal: Principal, request: JobRequest, *, key: str, where: str = ""
) -> PlannedJob:
    """Return the job to submit; raises a problem that names the field, prefixed by *where*."""
    limits = gateway.settings.limits
    if request.durable:
        require_resources(gateway, where)
        check_labels(request.labels, where)
        limits = limit_to_resource(limits)
    namespace = await gateway.choose_namespace(
        principal, Verb.CREATE, Resource.JOBS, request.namespace
    )
    try:
        body = build_body(request, limits, where)
        shape = validate_request(request.endpoint, body, limits)
    except InvalidRequest as error:
        raise invalid_request(InvalidRequest(where + error.field, error.message)) from error
    if request.model and shape.model and request.model != shape.model:
        detail = f"{where}body.model must be the job's model"
        raise Problem(422, "invalid_request", detail, param=f"{where}body.model")
    pool, model = await resolve(
        gateway, namespace, request.pool, request.model or shape.model, where
    )
    # The body is passed on as it came, byte for byte, unless the model must be added.
    given = request.body
    data = (
        bytes(given)
        if shape.model and isinstance(given, msgspec.Raw)
        else msgspec.json.encode({**body, "model": model})
    )
    job = build_job(
        request,
        pool=pool,
        model=model,
        user=principal.name,
        endpoint=request.endpoint,
        key=key,
        fingerprint=build_fingerprint(request, body) if key else "",
        body=data,
        cost=shape.cost,
    )
    return PlannedJob(job, request.pool is not None, request.durable)


def build_job(
    options: JobOptions,
    *,
    pool: PoolKey,
    model: str,
    user: str,
    endpoint: str,
    key: str,
    fingerprint: str,
    kind: JobKind = JobKind.REQUEST,
    body: bytes = b"",
    cost: int = 1,
) -> NewJob:
    """Return the job as the store takes it."""
    return NewJob(
        id=build_job_id(time.time_ns() // 1_000_000),
        pool=pool,
        model=model,
        kind=kind,
        endpoint=endpoint,
        body=body,
        cost=cost,
        job_class=options.job_class,
        name=options.name,
        labels=options.labels,
        user=user,
        suspend=options.suspend,
        backoff_limit=options.backoff_limit,
        recovery=options.recovery,
        active_deadline_s=options.active_deadline_seconds,
        queue_deadline_s=options.queue_deadline_seconds,
        ttl_s=options.ttl_seconds,
        idempotency_key=key,
        fingerprint=fingerprint,
    )


def build_fingerprint(options: JobOptions, body: dict[str, Any] | None) -> str:
    """Return a digest of what was asked for; how the JSON was written does not matter."""
    if isinstance(options, JobRequest):
        options = msgspec.structs.replace(options, body=UNSET)
    data = msgspec.json.encode([options, body], order="deterministic")
    return hashlib.blake2b(data, digest_size=16).hexdigest()


async def resolve(
    gateway: Gateway, namespace: str, pool: str | None, model: str, where: str = ""
) -> tuple[PoolKey, str]:
    """Return the pool and the model to run; raises the 422 problem that names the field."""
    if pool is not None:
        key = PoolKey(namespace, pool)
        try:
            chosen = await gateway.pools.choose_model(key, model)
        except PoolNotFound as error:
            raise _unknown("pool", "there is no such pool in this namespace", where) from error
        if chosen is None:
            raise _unknown("model", "the pool does not serve this model", where)
        return key, chosen
    if not model:
        raise _unknown("model", "is required, unless a pool is named", where)
    try:
        return await gateway.pools.resolve_model(namespace, model), model
    except PoolNotFound as error:
        raise _unknown("model", "no pool in this namespace serves this model", where) from error


def _unknown(field: str, detail: str, where: str) -> Problem:
    param = where + field
    return Problem(422, f"{field}_not_found", f"{param}: {detail}", param=param)


async def submit(gateway: Gateway, planned: PlannedJob) -> tuple[NewJob, Submitted]:
    """Submit a job, and return it as it was submitted.

    One that names no pool goes to the pool that serves its model now, if that has moved.
    """
    job = planned.job
    if planned.durable:
        return await submit_durable(gateway, job, names_pool=planned.names_pool)
    try:
        submitted = await gateway.store.submit(job)
    except PoolNotFound:
        gateway.pools.forget(job.pool.namespace)
        if planned.names_pool:
            raise
        pool = await gateway.pools.resolve_model(job.pool.namespace, job.model)
        if pool == job.pool:
            raise
        job = replace(job, pool=pool)
        submitted = await gateway.store.submit(job)
    if submitted.created:
        gateway.metrics.submitted.labels(job.kind.value).inc()
    return job, submitted


async def submit_all(gateway: Gateway, jobs: list[PlannedJob]) -> list[tuple[NewJob, Submitted]]:
    """Submit several jobs in order; a problem on the way names those that were accepted."""
    done: list[tuple[NewJob, Submitted]] = []
    for planned in jobs:
        try:
            done.append(await submit(gateway, planned))
        except (LLMJobsError, Problem) as error:
            problem = error if isinstance(error, Problem) else from_store_error(error)
            problem.jobs = [found.job_id for _, found in done]
            if done:
                problem.detail = f"{len(done)} of {len(jobs)} jobs were accepted; then: " + (
                    problem.detail.removesuffix("; nothing was accepted")
                )
            raise problem from error
    return done
