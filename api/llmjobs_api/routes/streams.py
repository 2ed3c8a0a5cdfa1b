"""Watching a job: server-sent events, and the same over a WebSocket."""

import asyncio
from contextlib import ExitStack, suppress
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, WebSocket, WebSocketDisconnect
from starlette.responses import Response

from llmjobs_api.context import get_caller, get_gateway
from llmjobs_api.docs import problems, text_answer
from llmjobs_api.edge import get_request_id, mark_long
from llmjobs_api.framing import GONE_MESSAGE, encode_message, parse_event_id
from llmjobs_api.hub import Watcher
from llmjobs_api.identity import Verb
from llmjobs_api.problems import Problem, build_response, from_store_error
from llmjobs_api.streams import EventStream
from llmjobs_api.watch import End, follow_job
from llmjobs_core.errors import LLMJobsError
from llmjobs_core.events import EventType
from llmjobs_core.jobs import JobRecord

router = APIRouter(tags=["watching"])

_LOOK_AT = 16
"""Events behind a job's end that are looked at for one to tell: only a newer version writes any."""

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001

After = Annotated[
    str | None, Query(max_length=40, description="Only events after this id; for plain clients.")
]
STREAM_RESPONSES = {
    200: text_answer(
        "Events `state`, `delta` (text), `reset` (all text so far is void), `line` (of a batch) "
        "and last `done`; the data of each is JSON. `gone`, without an id, ends the stream of a "
        "job that is not there any more.",
        "text/event-stream",
    ),
    204: {"description": "The job has ended and there is nothing after that id: stop asking."},
    **problems(404, 422, 429),
}


def parse_after(header: str | None, query: str | None) -> str:
    """Return the id to go on after, empty for the start; raises the 422 problem."""
    after = header or query or ""
    if after:
        try:
            parse_event_id(after)
        except ValueError as error:
            param = "Last-Event-ID" if header else "after"
            detail = f"{param} must be the id of an event, as it was sent"
            raise Problem(422, "invalid_event_id", detail, param=param) from error
    return after


@router.get(
    "/jobs/{job_id}/events",
    summary="Watch a job as server-sent events",
    response_model=None,
    responses=STREAM_RESPONSES,
)
async def stream_events(
    request: Request,
    job_id: str,
    after: After = None,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> Response:
    """Send all events of the job from its start, or from after an id, and go on as they happen.

    A client that connects again with `Last-Event-ID` misses nothing and gets nothing twice.
    """
    gateway = get_gateway(request)
    start = parse_after(last_event_id, after)
    record = await gateway.fetch_job(request, job_id, Verb.GET)
    if start and record.state.is_terminal:
        left = await gateway.store.fetch_events(job_id, after=start, limit=_LOOK_AT)
        if all(event.type is EventType.OTHER for event in left):
            return Response(status_code=204)
    mark_long(request)
    release = gateway.slots.acquire(get_caller(request))
    cleanup = ExitStack()
    cleanup.callback(release)
    watcher = cleanup.enter_context(gateway.hub.watch(job_id))
    batches = follow_job(
        gateway.store, watcher, job_id, record, after=start, idle_s=gateway.settings.keep_alive_s
    )
    return EventStream(batches, on_leave=watcher.close, on_end=cleanup.close)


@router.websocket("/jobs/{job_id}/ws")
async def stream_messages(socket: WebSocket, job_id: str, after: str | None = None) -> None:
    """Send the same events as JSON messages and close after ``done``; ignores what clients send."""
    gateway = get_gateway(socket)
    try:
        start = parse_after(None, after)
        record = await gateway.fetch_job(socket, job_id, Verb.GET)
        release = gateway.slots.acquire(get_caller(socket))
    except LLMJobsError as error:
        await _refuse(socket, from_store_error(error))
        return
    except Problem as problem:
        await _refuse(socket, problem)
        return
    try:
        with gateway.hub.watch(job_id) as watcher:
            await _relay(socket, watcher, record, start)
    finally:
        release()


async def _refuse(socket: WebSocket, problem: Problem) -> None:
    await socket.send_denial_response(build_response(problem, get_request_id(socket)))


async def _relay(socket: WebSocket, watcher: Watcher, record: JobRecord, start: str) -> None:
    gateway = get_gateway(socket)
    await socket.accept()
    leaving = asyncio.create_task(_notice_leave(socket, watcher))
    try:
        idle_s = gateway.settings.keep_alive_s
        async for batch in follow_job(
            gateway.store, watcher, record.id, record, after=start, idle_s=idle_s
        ):
            for shared in batch.events:
                await socket.send_text(encode_message(shared.event))
            if leaving.done():
                return
            if batch.end is End.CLOSED:
                await socket.close(CLOSE_GOING_AWAY, "connect again and go on after the last id")
                return
            if batch.end is End.GONE:
                await socket.send_text(GONE_MESSAGE)
            if batch.end is not None:
                await socket.close(CLOSE_NORMAL)
    except WebSocketDisconnect:
        return
    finally:
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving


async def _notice_leave(socket: WebSocket, watcher: Watcher) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    watcher.close()
