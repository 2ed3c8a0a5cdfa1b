"""Reading jobs: one, a list of them, and what they produced."""

from typing import Annotated
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from llmjobs_api.bodies import JSON
from llmjobs_api.context import get_caller, get_gateway
from llmjobs_api.docs import answer, problems, text_answer
from llmjobs_api.filters import (
    LabelFilter,
    NamespaceFilter,
    OptionalStateFilter,
    ReasonFilter,
    parse_label,
)
from llmjobs_api.identity import ALL_NAMESPACES, Resource, Verb
from llmjobs_api.reading import (
    fetch_result,
    fetch_text,
    iterate_results,
    list_records,
    view_job,
    view_jobs,
)
from llmjobs_api.schemas import JobList, JobView
from llmjobs_api.views import build_etag
from llmjobs_api.watch import wait_for_change, wait_for_end
from llmjobs_core.jobs import JobRecord

router = APIRouter(tags=["jobs"])
_encoder = msgspec.json.Encoder()

Wait = Annotated[
    int | None, Query(ge=0, le=3600, description="Answer when there is news, or after N seconds.")
]


@router.get(
    "/jobs/{job_id}",
    summary="Show a job",
    response_model=None,
    responses={
        200: answer("JobView", "The job, with its place in the backlog and why it waits."),
        304: {"description": "It is as `If-None-Match` says."},
        **problems(404, 422, 429),
    },
)
async def get_job(
    request: Request,
    job_id: str,
    wait: Wait = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Answer with the job as it is.

    With `wait`, answer once it has ended; together with `If-None-Match`, once it has changed.
    """
    gateway = get_gateway(request)
    record = await gateway.fetch_job(request, job_id, Verb.GET)
    view = await view_job(gateway, record)
    etag = build_etag(view)
    if wait and not record.state.is_terminal and (if_none_match is None or etag == if_none_match):
        view = await _wait_for_news(request, record, etag if if_none_match else None, wait)
        etag = build_etag(view)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag == if_none_match:
        return Response(status_code=304, headers=headers)
    if not view.state.is_terminal:
        headers["Retry-After"] = "1"
    return Response(_encoder.encode(view), 200, headers, JSON)


async def _wait_for_news(
    request: Request, record: JobRecord, etag: str | None, wait_s: float
) -> JobView:
    gateway = get_gateway(request)
    wait_s = min(wait_s, gateway.settings.max_wait_s)
    with gateway.slots.hold(get_caller(request)):
        if etag is None:
            ended = await wait_for_end(gateway.store, gateway.hub, record.id, timeout_s=wait_s)
            return await view_job(gateway, ended)

        async def look() -> tuple[JobView, bool]:
            view = await view_job(gateway, await gateway.store.fetch(record.id))
            return view, build_etag(view) != etag

        return await wait_for_change(gateway.hub, record.id, look, timeout_s=wait_s)


@router.get(
    "/jobs",
    summary="List jobs, newest first",
    response_model=None,
    responses={
        200: answer("JobList", "A page; `Link: rel=next` is the next one."),
        **problems(400, 403, 422),
    },
)
async def list_jobs(
    request: Request,
    namespace: NamespaceFilter = None,
    state: OptionalStateFilter = None,
    reason: ReasonFilter = None,
    label: LabelFilter = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
) -> Response:
    """Answer with a page of a namespace's jobs; it may be short while there is a next one.

    `state=failed&reason=poisoned` are the dead letters of jobs that took their workers down with
    them; `POST /jobs/retry` takes the same filters.
    """
    gateway = get_gateway(request)
    principal = await gateway.identify(request)
    chosen = await gateway.choose_namespace(principal, Verb.LIST, Resource.JOBS, namespace)
    page = await list_records(
        gateway,
        None if chosen == ALL_NAMESPACES else chosen,
        state=state,
        label=parse_label(label),
        reason=reason,
        limit=limit,
        cursor=cursor,
    )
    headers = {}
    if page.next_cursor is not None:
        query = dict(request.query_params) | {"cursor": page.next_cursor}
        headers["Link"] = f'</jobs?{urlencode(query)}>; rel="next"'
    body = JobList(await view_jobs(gateway, page.jobs), page.next_cursor)
    return Response(_encoder.encode(body), 200, headers, JSON)


@router.get(
    "/jobs/{job_id}/result",
    summary="Show a job's result",
    response_model=None,
    responses={
        200: answer({"type": "object"}, "The OpenAI response, as the engine gave it."),
        **problems(404, 409, 422, 429),
    },
)
async def get_result(request: Request, job_id: str, wait: Wait = None) -> Response:
    """Answer with a single job's OpenAI response; 409 while it has none, or if it has failed."""
    gateway = get_gateway(request)
    record = await gateway.fetch_job(request, job_id, Verb.GET)
    if wait and not record.state.is_terminal:
        wait_s = min(wait, gateway.settings.max_wait_s)
        with gateway.slots.hold(get_caller(request)):
            record = await wait_for_end(gateway.store, gateway.hub, job_id, timeout_s=wait_s)
    return Response(await fetch_result(gateway, record), media_type=JSON)


@router.get(
    "/jobs/{job_id}/text",
    summary="Show the text so far",
    response_model=None,
    responses={
        200: text_answer("The text, as far as it was generated.", "text/plain"),
        **problems(404, 422),
    },
)
async def get_text(
    request: Request,
    job_id: str,
    line: Annotated[int | None, Query(ge=0, description="Of a batch: which line, from 0.")] = None,
) -> Response:
    """Answer with the text of a job, or of one line of a batch, while it runs and after."""
    gateway = get_gateway(request)
    record = await gateway.fetch_job(request, job_id, Verb.GET)
    return Response(await fetch_text(gateway, record, line), media_type="text/plain")


@router.get(
    "/jobs/{job_id}/results",
    summary="Stream the results so far",
    response_model=None,
    responses={
        200: text_answer("OpenAI batch output, one JSON object a line.", "application/jsonl"),
        **problems(404),
    },
)
async def get_results(request: Request, job_id: str) -> Response:
    """Answer with the results that are there, in the order of the lines."""
    gateway = get_gateway(request)
    record = await gateway.fetch_job(request, job_id, Verb.GET)
    return StreamingResponse(iterate_results(gateway, record), media_type="application/jsonl")
