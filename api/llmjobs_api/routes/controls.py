"""What an owner may do with a job: cancel, retry, suspend, resume, change, remove."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from llmjobs_api import wishes
from llmjobs_api.bodies import JSON, read_body, require_json
from llmjobs_api.context import Gateway, get_gateway
from llmjobs_api.docs import answer, json_body, problems
from llmjobs_api.filters import (
    LabelFilter,
    NamespaceFilter,
    ReasonFilter,
    StateFilter,
    parse_label,
)
from llmjobs_api.identity import ALL_NAMESPACES, Resource, Verb
from llmjobs_api.intake import decode_json, parse_idempotency_key
from llmjobs_api.problems import Problem
from llmjobs_api.reading import list_records, view_job
from llmjobs_api.retrying import explain_refusal, retry_all, retry_job
from llmjobs_api.schemas import JobPatch
from llmjobs_api.views import build_submitted
from llmjobs_core.jobs import JobRecord
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
    """End the job in whatever state it is; a job that has ended stays as it is.

    Of a job that has an LLMJob, `spec.cancel` is set, so it stays cancelled whatever comes.
    """
    gateway = get_gateway(request)
    await wishes.cancel_job(gateway, await gateway.fetch_job(request, job_id, Verb.UPDATE))
    return await _answer_now(gateway, job_id)


@router.delete(
    "/jobs/{job_id}",
    summary="Cancel a live job, remove an ended one",
    response_model=None,
    responses={
        200: answer("JobView", "It was live and is cancelled; delete again to remove it."),
        204: {
            "description": "It had ended and is removed, with its results; an LLMJob's "
            "job goes as soon as the operator has deleted the LLMJob."
        },
        **problems(403, 404, 409),
    },
)
async def delete_job(request: Request, job_id: str) -> Response:
    """Cancel the job if it is live; remove its record and results if it has ended.

    An LLMJob behind it is deleted with it, a moment later.
    """
    gateway = get_gateway(request)
    record = await gateway.fetch_job(request, job_id, Verb.DELETE)
    if record.state.is_terminal:
        await wishes.remove_job(gateway, record)
        return Response(status_code=204)
    await wishes.cancel_job(gateway, record)
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
    record = await gateway.fetch_job(request, job_id, Verb.UPDATE)
    if not record.state.is_terminal:
        await wishes.apply_wish(gateway, record, {"suspend": True})
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
    record = await gateway.fetch_job(request, job_id, Verb.UPDATE)
    if not record.state.is_terminal:
        await wishes.apply_wish(gateway, record, {"suspend": False})
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
    await _apply_patch(gateway, record, patch)
    return await _answer_now(gateway, job_id)


async def _apply_patch(gateway: Gateway, record: JobRecord, patch: JobPatch) -> None:
    wish: dict[str, object] = {}
    if patch.job_class is not None:
        wish["class"] = patch.job_class.value
    if patch.ttl_seconds is not None:
        wish["ttlSecondsAfterFinished"] = patch.ttl_seconds
    await wishes.apply_wish(gateway, record, wish)
    # The record of an LLMJob's job goes with the LLMJob, not by a TTL of its own.
    ttl_s = None if record.owner else patch.ttl_seconds
    await gateway.store.reclassify(record.id, job_class=patch.job_class, ttl_s=ttl_s)


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
    """Make a new job of the same request, or of the lines of a batch that did not succeed.

    A job has one retry: asking again gives the same, unless an `Idempotency-Key` says otherwise.
    The retry of an LLMJob's job is an ordinary job, with the default TTL.
    """
    gateway = get_gateway(request)
    key = parse_idempotency_key(request.headers.get("idempotency-key"))
    record = await gateway.fetch_job(request, job_id, Verb.GET)
    principal = await gateway.identify(request)
    await gateway.choose_namespace(principal, Verb.CREATE, Resource.JOBS, record.namespace)
    refusal = explain_refusal(record)
    if refusal is not None:
        raise refusal
    job, submitted, total = await retry_job(gateway, record, user=principal.name, key=key)
    view = build_submitted(job, submitted, total)
    headers = {"Location": view.links.self, "Retry-After": "1"}
    return Response(_encoder.encode(view), 202, headers, JSON)


@router.post(
    "/jobs/retry",
    summary="Run ended jobs again, some at a time",
    response_model=None,
    responses={
        200: answer("RetryReport", "What came of each, and how many are left."),
        **problems(400, 403, 422),
    },
)
async def retry_many(
    request: Request,
    namespace: NamespaceFilter = None,
    state: StateFilter = JobState.FAILED,
    reason: ReasonFilter = None,
    label: LabelFilter = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
) -> Response:
    """Retry the jobs that `GET /jobs` lists for the same filters, newest first.

    Call it again with `nextCursor` until that is null. No job whose retry is still there is
    retried again, however often it is called.
    """
    gateway = get_gateway(request)
    if not state.is_terminal:
        detail = "state must be one in which jobs have ended"
        raise Problem(422, "invalid_request", detail, param="state")
    principal = await gateway.identify(request)
    for verb in (Verb.LIST, Verb.CREATE):
        chosen = await gateway.choose_namespace(principal, verb, Resource.JOBS, namespace)
    chosen_label = parse_label(label)
    where = None if chosen == ALL_NAMESPACES else chosen
    page = await list_records(
        gateway,
        where,
        state=state,
        label=chosen_label,
        reason=reason,
        limit=limit,
        cursor=cursor,
    )
    report, looked_at = await retry_all(gateway, page.jobs, user=principal.name)
    is_cut = looked_at < len(page.jobs)
    after = gateway.store.build_cursor(page.jobs[looked_at - 1].id) if is_cut else page.next_cursor
    report.next_cursor = after
    if after is not None:
        report.remaining = await gateway.store.count_jobs(
            where, state=state, label=chosen_label, reason=reason, cursor=after
        )
    return Response(_encoder.encode(report), media_type=JSON)
