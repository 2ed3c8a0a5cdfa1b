"""The small surface of the article that this system grew from: generate, then ask for a task."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from llmjobs_api.bodies import JSON, read_body, require_json
from llmjobs_api.context import get_gateway
from llmjobs_api.docs import answer, json_body, problems
from llmjobs_api.identity import Resource, Verb
from llmjobs_api.intake import decode_json, parse_idempotency_key, plan_job, submit
from llmjobs_api.problems import Problem
from llmjobs_api.reading import fetch_text, view_job
from llmjobs_api.routes.streams import STREAM_RESPONSES, After, stream_events
from llmjobs_api.schemas import (
    GenerateRequest,
    JobRequest,
    TaskAccepted,
    TaskProgress,
    TaskStatus,
)
from llmjobs_core.jobs import JobKind, JobRecord
from llmjobs_core.states import JobState

router = APIRouter(tags=["tasks"])
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(GenerateRequest)

_WORDS = {
    JobState.PENDING: "PENDING",
    JobState.SUSPENDED: "PENDING",
    JobState.QUEUED: "PENDING",
    JobState.RUNNING: "STARTED",
    JobState.SUCCEEDED: "SUCCESS",
    JobState.FAILED: "FAILURE",
    JobState.EXPIRED: "FAILURE",
    JobState.CANCELLED: "REVOKED",
}


def celery_status(record: JobRecord) -> str:
    """Return a job's state in Celery's words."""
    if record.state is JobState.QUEUED and record.attempts:
        return "RETRY"
    return _WORDS[record.state]


@router.post(
    "/generate",
    status_code=202,
    summary="Generate text for a prompt",
    response_model=None,
    responses={
        202: answer("TaskAccepted", "The task; `Location` is its status."),
        **problems(400, 403, 413, 415, 422),
    },
    openapi_extra=json_body("GenerateRequest"),
)
async def generate(
    request: Request, idempotency_key: Annotated[str | None, Header()] = None
) -> Response:
    """Submit a prompt; without a model, to the only one that the namespace serves."""
    gateway = get_gateway(request)
    principal = await gateway.identify(request)
    require_json(request)
    key = parse_idempotency_key(idempotency_key)
    data = await read_body(request, gateway.settings.max_body_bytes)
    wish: GenerateRequest = decode_json(data, _decoder)
    model = wish.model
    if model is None:
        namespace = await gateway.choose_namespace(principal, Verb.CREATE, Resource.JOBS, None)
        model = await gateway.pools.only_model(namespace)
        if model is None:
            detail = "model is required: this namespace serves none, or more than one"
            raise Problem(422, "model_not_found", detail, param="model")
    options = msgspec.to_builtins(wish)
    body = {
        "model": model,
        "messages": [{"role": "user", "content": options.pop("prompt")}],
        **options,
    }
    asked = JobRequest(model=model, body=msgspec.Raw(msgspec.json.encode(body | {"model": model})))
    _, submitted = await submit(gateway, await plan_job(gateway, principal, asked, key=key))
    accepted = TaskAccepted(submitted.job_id, _WORDS[submitted.state])
    headers = {"Location": f"/tasks/{submitted.job_id}/status", "Retry-After": "1"}
    return Response(_encoder.encode(accepted), 202, headers, JSON)


@router.get(
    "/tasks/{task_id}/status",
    summary="Show a task",
    response_model=None,
    responses={
        200: answer("TaskStatus", "The task, with its text once it is done."),
        **problems(404),
    },
)
async def task_status(request: Request, task_id: str) -> Response:
    """Answer with the task's state, and its result or error."""
    gateway = get_gateway(request)
    record = await gateway.fetch_job(request, task_id, Verb.GET)
    view = await view_job(gateway, record)
    done = record.state is JobState.SUCCEEDED and record.kind is JobKind.REQUEST
    body = TaskStatus(
        task_id=task_id,
        status=celery_status(record),
        state=record.state,
        reason=view.reason,
        message=view.message,
        position=view.position,
        result=await fetch_text(gateway, record, None) if done else None,
        error=record.error.message if record.error else None,
    )
    return Response(_encoder.encode(body), media_type=JSON)


class _Bound(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


@router.get(
    "/tasks/{task_id}/progress",
    summary="Show how far a task is",
    response_model=None,
    responses={200: answer("TaskProgress", "Tokens and text so far."), **problems(404)},
)
async def task_progress(request: Request, task_id: str) -> Response:
    """Answer with the tokens and the text so far, and the share of the most it may generate."""
    gateway = get_gateway(request)
    record = await gateway.fetch_job(request, task_id, Verb.GET)
    single = record.kind is JobKind.REQUEST
    bound: int | None = None
    if single:
        asked = msgspec.json.decode(await gateway.store.fetch_request(task_id), type=_Bound)
        bound = asked.max_completion_tokens or asked.max_tokens
    body = TaskProgress(
        task_id=task_id,
        status=celery_status(record),
        progress=_share(record, bound),
        tokens=record.tokens,
        max_tokens=bound,
        text=await fetch_text(gateway, record, None) if single else "",
    )
    return Response(_encoder.encode(body), media_type=JSON)


def _share(record: JobRecord, bound: int | None) -> float | None:
    if record.state is JobState.SUCCEEDED:
        return 1.0
    if record.kind is JobKind.BATCH and record.counts.total:
        counts = record.counts
        return round((counts.succeeded + counts.failed + counts.cancelled) / counts.total, 4)
    return round(min(record.tokens / bound, 1.0), 4) if bound else None


@router.get(
    "/tasks/{task_id}/stream",
    summary="Watch a task as server-sent events",
    response_model=None,
    responses=STREAM_RESPONSES,
)
async def task_stream(
    request: Request,
    task_id: str,
    after: After = None,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> Response:
    """Send the events of `/jobs/{id}/events`."""
    return await stream_events(request, task_id, after, last_event_id)
