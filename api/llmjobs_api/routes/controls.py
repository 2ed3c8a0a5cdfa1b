"""What an owner may do with a job: cancel, retry, suspend, resume, change, remove."""

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from llmjobs_api.bodies import JSON, read_body, require_json
from llmjobs_api.context import Gateway, get_gateway
from llmjobs_api.docs import answer, json_body, problems
from llmjobs_api.identity import Resource, Verb
from llmjobs_api.intake import decode_json, parse_idempotency_key
from llmjobs_api.problems import Problem
from llmjobs_api.reading import view_job
from llmjobs_api.retrying import retry_job
from llmjobs_api.schemas import JobPatch
from llmjobs_api.views import build_submitted
from llmjobs_core.states import JobState

router = APIRouter(tags=["control"])
_encoder = msgspec.json.Encoder()
_patch_decoder = msgspec.json.Decoder(JobPatch)

_NOW = answer("JobView", "The job as it is now.")


async def _answer_now(gateway: Gateway, job_id: str) -> Response:
    view = await view_job(gateway, await gateway.store.fetch(job_id))
    return Response(_encoder.encode(view), media_type=JSON)


@router.post(
    "/jobs/{job_id}/cancel",
    summary="Cancel a job",
    response_model=None,
    responses={200: _NOW, **problems(403, 404)},
)
async def cancel_job(request: Request, job_id: str) -> Response:
    """End the job in whatever state it is; a job that has ended stays as it is."""
    gateway = get_gateway(request)
    await gateway.fetch_job(request, job_id, Verb.UPDATE)
    await gateway.store.cancel(job_id, "cancelled by its owner")
    return await _answer_now(gateway, job_id)


@router.delete(
    "/jobs/{job_id}",
    summary="Cancel a live job, remove an ended one",
    response_model=None,
    responses={
        200: answer("JobView", "It was live and is cancelled; delete again to remove it."),
        204: {"description": "It had ended and is removed, with its results."},
        **problems(403, 404, 409),
    },
)
async def delete_job(request: Request, job_id: str) -> Response:
    """Cancel the job if it is live; remove its record and results if it has ended."""
    gateway = get_gateway(request)
    record = await gateway.fetch_job(request, job_id, Verb.DELETE)
    if record.state.is_terminal:
        await gateway.store.remove(job_id)
        return Response(status_code=204)
    await gateway.store.cancel(job_id, "cancelled by its owner")
    return await _answer_now(gateway, job_id)


@router.post(
    "/jobs/{job_id}/suspend",
    summary="Hold a job",
    response_model=None,
    responses={200: _NOW, **problems(403, 404, 409)},
)
async def suspend_job(request: Request, job_id: str) -> Response:
    """Hold the job until it is resumed; what runs is stopped and goes on from there later."""
    gateway = get_gateway(request)
    await gateway.fetch_job(request, job_id, Verb.UPDATE)
    await gateway.store.suspend(job_id)
    return await _answer_now(gateway, job_id)


@router.post(
    "/jobs/{job_id}/resume",
    summary="Queue a held job again",
    response_model=None,
    responses={200: _NOW, **problems(403, 404, 409)},
)
async def resume_job(request: Request, job_id: str) -> Response:
    """Queue a suspended job again; harmless for one that is live."""
    gateway = get_gateway(request)
    await gateway.fetch_job(request, job_id, Verb.UPDATE)
    await gateway.store.resume(job_id)
    return await _answer_now(gateway, job_id)


@router.patch(
    "/jobs/{job_id}",
    summary="Change a job's class or TTL",
    response_model=None,
    responses={200: _NOW, **problems(400, 403, 404, 409, 413, 415, 422)},
    openapi_extra=json_body("JobPatch"),
)
async def patch_job(request: Request, job_id: str) -> Response:
    """Change the class, and so the place in the backlog, or how long the job is kept."""
    gateway = get_gateway(request)
    require_json(request)
    patch: JobPatch = decode_json(
        await read_body(request, gateway.settings.max_body_bytes), _patch_decoder
    )
    if patch.job_class is None and patch.ttl_seconds is None:
        raise Problem(422, "invalid_request", "give class or ttlSeconds", param="class")
    record = await gateway.fetch_job(request, job_id, Verb.UPDATE)
    if patch.job_class is not None and record.state.is_terminal:
        raise Problem(409, "state_conflict", f"the job is {record.state}: its class is final")
    await gateway.store.reclassify(job_id, job_class=patch.job_class, ttl_s=patch.ttl_seconds)
    return await _answer_now(gateway, job_id)


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    summary="Run an ended job again, as a new job",
    response_model=None,
    responses={
        202: answer("SubmittedView", "The new job; `Location` is its address."),
        **problems(400, 403, 404, 409, 422),
    },
)
async def retry(request: Request, job_id: str) -> Response:
    """Make a new job of the same request, or of the lines of a batch that did not succeed."""
    gateway = get_gateway(request)
    key = parse_idempotency_key(request.headers.get("idempotency-key"))
    record = await gateway.fetch_job(request, job_id, Verb.GET)
    principal = await gateway.identify(request)
    await gateway.choose_namespace(principal, Verb.CREATE, Resource.JOBS, record.namespace)
    if not record.state.is_terminal:
        raise Problem(409, "not_finished", f"the job is {record.state}; cancel it first")
    if record.state is JobState.SUCCEEDED and not record.counts.failed:
        raise Problem(409, "state_conflict", "the job has succeeded: there is nothing to retry")
    job, submitted, total = await retry_job(gateway, record, user=principal.name, key=key)
    view = build_submitted(job, submitted, total)
    headers = {"Location": view.links.self, "Retry-After": "1"}
    return Response(_encoder.encode(view), 202, headers, JSON)
