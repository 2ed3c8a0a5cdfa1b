"""The few routes that must be quick, served straight from ASGI; all others are FastAPI's.

FastAPI's way to a handler (matching, dependencies, exit stacks) was a quarter of the CPU of a
submission. A route that is served here stands in FastAPI's table as well, with the same handler:
for the document, and for the answers to other methods.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from llmjobs_api.edge import get_request_id
from llmjobs_api.problems import Problem, build_response, from_store_error
from llmjobs_core.errors import LLMJobsError

log = structlog.get_logger(__name__)

FAILURES = (Problem, LLMJobsError, ClientDisconnect)
"""What a handler raises on purpose; anything else is a bug."""


def answer_failure(request: Request, error: Exception) -> Response:
    """Return the answer to a request whose handler raised one of `FAILURES`."""
    if isinstance(error, Problem):
        problem = error
    elif isinstance(error, LLMJobsError):
        problem = from_store_error(error)
        if problem.status >= 500:
            log.warning("request_failed", cause=type(error).__name__, path=request.url.path)
    else:
        # Nobody reads it; the status is for the metrics.
        problem = Problem(400, "client_left", "the client left")
    return build_response(problem, get_request_id(request))


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """One exact path and method."""

    method: str
    path: str
    handler: Callable[[Request], Awaitable[Response]]


class DirectRoutes:
    """Serves some routes; hands everything else on."""

    def __init__(self, app: ASGIApp, routes: Iterable[DirectRoute]) -> None:
        self._app = app
        self._routes = {(route.method, route.path): route for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or let the app inside do it."""
        route = self._routes.get((scope.get("method", ""), scope.get("path", "")))
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            response = await route.handler(request)
        except FAILURES as error:
            response = answer_failure(request, error)
        await response(scope, receive, send)
