"""What goes around every request: its id, its count, and what no answer lacks. Plain ASGI.

Not Starlette's BaseHTTPMiddleware, which puts a task and a queue between a stream and its client.
"""

import re
import secrets
import time
from typing import Any

from prometheus_client import Counter, Histogram
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmjobs_api.metrics import GatewayMetrics

REQUEST_ID = "llmjobs.request_id"
"""Where the scope holds the request's id."""

_CLIENT_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_IS_LONG = "llmjobs.is_long"


class Edge:
    """Gives each request an id (the client's, if it sent a sane one) and counts the answers."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app inside."""
        if scope["type"] == "websocket":
            scope[REQUEST_ID] = _choose_id(scope)
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _choose_id(scope)
        scope[REQUEST_ID] = request_id
        status = 500
        began_s = time.perf_counter()

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        finally:
            self._count(scope, status, time.perf_counter() - began_s)

    def _count(self, scope: Scope, status: int, took_s: float) -> None:
        route = route_template(scope)
        place = (route, scope["method"], status)
        counter = self._counters.get(place)
        if counter is None:
            counter = self._metrics.requests.labels(route, scope["method"], str(status))
            self._counters[place] = counter
        counter.inc()
        if _IS_LONG in scope:
            return
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = self._metrics.latency.labels(route)
        timer.observe(took_s)


def _choose_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _CLIENT_ID.fullmatch(value):
            return bytes(value).decode()
    return f"req-{secrets.token_hex(12)}"


def route_template(scope: Scope) -> str:
    """Return the route's path with its placeholders; never what the client wrote."""
    route: Any = scope.get("route")
    return getattr(route, "path", None) or "unmatched"


def get_request_id(connection: HTTPConnection) -> str:
    """Return the id that a request was given; empty outside of the edge."""
    return str(connection.scope.get(REQUEST_ID, ""))


def mark_long(connection: HTTPConnection) -> None:
    """Keep a request out of the latencies: it waits for its job, and not for this gateway."""
    connection.scope[_IS_LONG] = True
