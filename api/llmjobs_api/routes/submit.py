"""``POST /jobs``: one job, several, or a batch that is streamed in."""

import time
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from llmjobs_api.batch_intake import accept_batch, parse_options
from llmjobs_api.bodies import JSON, JSON_LINES, iterate_lines, media_type, unsupported_media_type
from llmjobs_api.context import Gateway, get_gateway
from llmjobs_api.docs import answer, problems, submit_body
from llmjobs_api.durable_batch import accept_durable_batch
from llmjobs_api.identity import Principal
from llmjobs_api.intake import parse_idempotency_key, plan_job, read_jobs, submit, submit_all
from llmjobs_api.prefer import parse_wait
from llmjobs_api.reading import view_job
from llmjobs_api.schemas import JobRequest, JobView, SubmittedJobs, SubmittedView
from llmjobs_api.views import build_submitted
from llmjobs_api.watch import wait_for_end
from llmjobs_core.jobs import JobKind, JobRecord
from llmjobs_core.states import JobState

router = APIRouter(tags=["jobs"])
_encoder = msgspec.json.Encoder()
POLL_AFTER_S = "1"


@router.post(
    "/jobs",
    status_code=202,
    summary="Submit one job, several, or a batch of OpenAI requests",
    response_model=None,
    responses={
        202: answer(
            {
                "anyOf": [
                    {"$ref": f"#/components/schemas/{n}"}
                    for n in ("SubmittedView", "SubmittedJobs", "JobView")
                ]
            },
            "Accepted; `Location` is the job.",
        ),
        200: answer("JobView", "Ended within the time of `Prefer: wait`; has the result."),
        **problems(400, 403, 409, 413, 415, 422, 429),
    },
    openapi_extra=submit_body(),
)
async def submit_jobs(
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(description="Submitting again with the same key gives the same job.")
    ] = None,
    prefer: Annotated[
        str | None,
        Header(description="`wait=N` answers when the job has ended, or after N seconds."),
    ] = None,
) -> Response:
    """Take one job as JSON, several as `{"jobs": [...]}`, or a batch as JSON Lines.

    A batch is the body itself, one OpenAI batch line a line, with its options as query parameters
    (`model`, `pool`, `class`, `name`, `label=name=value`, ...).
    """
    gateway = get_gateway(request)
    principal = await gateway.identify(request)
    key = parse_idempotency_key(idempotency_key)
    wait_s = parse_wait(prefer, gateway.settings.max_wait_s)
    kind = media_type(request)
    if kind in JSON_LINES:
        view = await _submit_batch(gateway, principal, request, key)
        return await _answer_one(gateway, principal, view, wait_s)
    if kind != JSON:
        raise unsupported_media_type((JSON, *JSON_LINES))
    began_s = time.perf_counter()
    jobs, is_many = await read_jobs(gateway, request)
    if is_many:
        return await _submit_many(gateway, principal, jobs, key)
    job, submitted = await submit(gateway, await plan_job(gateway, principal, jobs[0], key=key))
    gateway.metrics.submit_latency.observe(time.perf_counter() - began_s)
    return await _answer_one(gateway, principal, build_submitted(job, submitted), wait_s)


async def _submit_many(
    gateway: Gateway, principal: Principal, jobs: list[JobRequest], key: str
) -> Response:
    planned = [
        await plan_job(
            gateway, principal, job, key=f"{key}/{at}" if key else "", where=f"jobs[{at}]."
        )
        for at, job in enumerate(jobs)
    ]
    done = await submit_all(gateway, planned)
    body = SubmittedJobs([build_submitted(job, submitted) for job, submitted in done])
    return Response(_encoder.encode(body), 202, media_type=JSON)


async def _submit_batch(
    gateway: Gateway, principal: Principal, request: Request, key: str
) -> SubmittedView:
    settings = gateway.settings
    options = parse_options(request.query_params)
    chunks = iterate_lines(
        request,
        limit_bytes=settings.max_batch_bytes,
        line_limit_bytes=settings.max_request_bytes,
    )
    accept = accept_durable_batch if options.durable else accept_batch
    job, submitted, total = await accept(gateway, principal, options, chunks, key=key)
    return build_submitted(job, submitted, total)


async def _answer_one(
    gateway: Gateway, principal: Principal, view: SubmittedView, wait_s: float | None
) -> Response:
    headers = {"Location": view.links.self}
    if not view.created:
        headers["Idempotency-Replayed"] = "true"
    if wait_s is None or view.state is JobState.PENDING:
        headers["Retry-After"] = POLL_AFTER_S
        return Response(_encoder.encode(view), 202, headers, JSON)
    with gateway.slots.hold(principal.name):
        record = await wait_for_end(gateway.store, gateway.hub, view.id, timeout_s=wait_s)
    headers["Preference-Applied"] = f"wait={wait_s:g}"
    body = await _view_with_result(gateway, record)
    if not record.state.is_terminal:
        headers["Retry-After"] = POLL_AFTER_S
    return Response(_encoder.encode(body), 200 if record.state.is_terminal else 202, headers, JSON)


async def _view_with_result(gateway: Gateway, record: JobRecord) -> JobView:
    view = await view_job(gateway, record)
    if record.state is JobState.SUCCEEDED and record.kind is JobKind.REQUEST:
        result = (await gateway.store.fetch_results(record.id))[0]
        if result is not None and result.body:
            view.result = msgspec.Raw(result.body)
    return view
