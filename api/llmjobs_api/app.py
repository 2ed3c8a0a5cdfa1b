"""The gateway's app: made by :func:`create_app`, opened by its lifespan; importing does nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypedDict

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.responses import Response

from llmjobs_api.context import Gateway
from llmjobs_api.direct import FAILURES, DirectRoutes, answer_failure
from llmjobs_api.docs import build_document
from llmjobs_api.edge import Edge, get_request_id
from llmjobs_api.hub import Hub
from llmjobs_api.metrics import GatewayMetrics
from llmjobs_api.pools import PoolDirectory
from llmjobs_api.ports import Ports
from llmjobs_api.problems import Problem, build_response
from llmjobs_api.routes import controls, health, jobs, pools, streams, submit, tasks
from llmjobs_api.settings import GatewaySettings
from llmjobs_api.streams import StreamSlots
from llmjobs_core.errors import RetryableError
from llmjobs_core.store import JobStore
from llmjobs_core.tasks import end_tasks

log = structlog.get_logger(__name__)


class AppState(TypedDict):
    """What requests find in their state."""

    gateway: Gateway


def create_app(settings: GatewaySettings, ports: Ports) -> FastAPI:
    """Return the app; it connects to nothing before it is started."""
    metrics = GatewayMetrics(CollectorRegistry())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[AppState]:
        store = ports.open_store()
        async with ports.open_access() as access:
            gateway = Gateway(
                settings=settings,
                store=store,
                hub=Hub(ports.open_reader),
                authority=access.authority,
                resources=access.resources,
                pools=PoolDirectory(store),
                slots=StreamSlots(
                    total=settings.max_streams, per_user=settings.max_streams_per_user
                ),
                metrics=metrics,
            )
            app.state.gateway = gateway
            hub = asyncio.create_task(gateway.hub.run(), name="hub")
            # Without the reaper a gateway serves well: workers and the operator reap, too.
            hub.add_done_callback(partial(_note_end, gateway))
            reaper = asyncio.create_task(reap_on(store, settings.reap_interval_s), name="reaper")
            tasks_ = [hub, reaper]
            for task in tasks_:
                task.add_done_callback(_log_end)
            try:
                yield {"gateway": gateway}
            finally:
                gateway.hub.begin_drain()
                await end_tasks(tasks_)
                await store.close()

    app = FastAPI(
        title="llmjobs",
        version="v1alpha1",
        summary="Long-running LLM jobs: submit, watch, explain.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.add_middleware(DirectRoutes, routes=[submit.DIRECT])
    app.add_middleware(Edge, metrics=metrics)
    for module in (submit, jobs, streams, controls, pools, tasks, health):
        app.include_router(module.router)
    _add_handlers(app)
    _add_document(app)
    return app


def begin_drain(app: FastAPI) -> None:
    """End all streams so that their clients connect elsewhere; call it at SIGTERM."""
    gateway: Gateway | None = getattr(app.state, "gateway", None)
    if gateway is not None:
        gateway.hub.begin_drain()


async def reap_on(store: JobStore, interval_s: float) -> None:
    """Put overdue things right from time to time: deadlines pass even where no worker lives."""
    while True:
        await asyncio.sleep(interval_s)
        with suppress(RetryableError):
            await store.reap()


def _note_end(gateway: Gateway, task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        gateway.dead_parts.append(task.get_name())


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background_task_died", task=task.get_name(), exc_info=error)


def _add_handlers(app: FastAPI) -> None:
    async def on_failure(request: Request, error: Exception) -> Response:
        return answer_failure(request, error)

    for kind in FAILURES:
        app.add_exception_handler(kind, on_failure)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return build_response(_parameter_problem(error), get_request_id(request))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        codes = {404: "not_found", 405: "method_not_allowed"}
        details = {404: "there is nothing at this path", 405: "this path has no such method"}
        detail = details.get(error.status_code, str(error.detail))
        code = codes.get(error.status_code, "http_error")
        headers = dict(error.headers or {})
        problem = Problem(error.status_code, code, detail, headers=headers)
        return build_response(problem, get_request_id(request))

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> Response:
        log.error("request_broke", path=request.url.path, exc_info=error)
        problem = Problem(500, "internal_error", "the request could not be handled")
        return build_response(problem, get_request_id(request))


def _parameter_problem(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"][1:]]
    param = ".".join(place) or str(first["loc"][0])
    return Problem(422, "invalid_request", f"{param}: {first['msg']}", param=param)


def _add_document(app: FastAPI) -> None:
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(build_document(app))
        return made

    app.openapi = document  # type: ignore[method-assign]
