"""``POST /jobs``: one job, several, or a batch that is streamed in."""

import time
from contextlib import ExitStack

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from llmjobs_api.batch_intake import accept_batch, parse_options
from llmjobs_api.bodies import JSON, JSON_LINES, iterate_lines, media_type, unsupported_media_type
from llmjobs_api.context import Gateway, get_gateway
from llmjobs_api.direct import DirectRoute
from llmjobs_api.docs import answer, header_parameters, problems, submit_body, text_answer
from llmjobs_api.durable_batch import accept_durable_batch
from llmjobs_api.edge import mark_long
from llmjobs_api.identity import Principal
from llmjobs_api.intake import (
    PlannedJob,
    parse_idempotency_key,
    plan_job,
    read_jobs,
    submit,
    submit_all,
)
from llmjobs_api.prefer import parse_wait, wants_events
from llmjobs_api.reading import view_job
from llmjobs_api.schemas import JobRequest, JobView, SubmittedJobs, SubmittedView
from llmjobs_api.streams import EventStream
from llmjobs_api.views import build_links, build_submitted
from llmjobs_api.watch import follow_job, wait_for_end
from llmjobs_core.errors import JobNotFound, RetryableError
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
        200: {
            "description": "Ended within the time of `Prefer: wait`; has the result. With `Accept: "
            "text/event-stream`, one job's events as they happen; `Location` is the job.",
            "content": answer("JobView", "")["content"]
            | text_answer("", "text/event-stream")["content"],
        },
        **problems(400, 403, 409, 413, 415, 422, 429),
    },
    openapi_extra=submit_body()
    | header_parameters(
        {
            "idempotency-key": "Submitting again with the same key gives the same job.",
            "prefer": "`wait=N` answers when the job has ended, or after N seconds.",
        }
    ),
)
async def submit_jobs(request: Request) -> Response:
    """Take one job as JSON, several as `{"jobs": [...]}`, or a batch as JSON Lines.

    A batch is the body itself, one OpenAI batch line a line, with its options as query parameters
    (`model`, `pool`, `class`, `name`, `label=name=value`, ...).

    One job with `Accept: text/event-stream` is answered by its events, as `/jobs/{id}/events`
    sends them: a client that connects again goes on there, with `Last-Event-ID`.
    """
    gateway = get_gateway(request)
    principal = await gateway.identify(request)
    key = parse_idempotency_key(request.headers.get("idempotency-key"))
    wait_s = parse_wait(request.headers.get("prefer"), gateway.settings.max_wait_s)
    if wait_s is not None:
        mark_long(request)
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
    planned = await plan_job(gateway, principal, jobs[0], key=key)
    if wants_events(request.headers.get("accept")):
        mark_long(request)
        return await _submit_and_follow(gateway, principal, planned)
    job, submitted = await submit(gateway, planned)
    gateway.metrics.submit_latency.observe(time.perf_counter() - began_s)
    return await _answer_one(gateway, principal, build_submitted(job, submitted), wait_s)


DIRECT = DirectRoute("POST", "/jobs", submit_jobs)


async def _submit_and_follow(
    gateway: Gateway, principal: Principal, planned: PlannedJob
) -> Response:
    """Submit a job and answer with its events: one request, and nothing to read again.

    Whoever watches before the job is there has missed nothing of it.
    """
    with ExitStack() as stack:
        stack.callback(gateway.slots.acquire(principal.name))
        watcher = stack.enter_context(gateway.hub.watch(planned.job.id))
        job, submitted = await submit(gateway, planned)
        record = None
        if not submitted.created or submitted.job_id != planned.job.id:
            # An earlier submission's, or one whose id its LLMJob gave.
            try:
                record = await gateway.store.fetch(submitted.job_id)
            except (JobNotFound, RetryableError):
                # Accepted all the same: its LLMJob is there, and not yet, or no more, in the store.
                view = build_submitted(job, submitted)
                return await _answer_one(gateway, principal, view, wait_s=None)
            watcher = stack.enter_context(gateway.hub.watch(submitted.job_id))
        cleanup = stack.pop_all()
    batches = follow_job(
        gateway.store,
        watcher,
        submitted.job_id,
        record,
        after="",
        idle_s=gateway.settings.keep_alive_s,
    )
    headers = {"location": build_links(submitted.job_id, job.kind).self}
    if not submitted.created:
        headers["idempotency-replayed"] = "true"
    return EventStream(batches, on_leave=watcher.close, on_end=cleanup.close, headers=headers)


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
