"""``/metrics``, ``/healthz`` and ``/readyz``, from threads of their own.

They answer when the loop does not, since that is what they are asked about.
"""

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Check = Callable[[], str | None]
"""Gives None when all is well, else what is wrong."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Write nothing: probes come every few seconds."""


class ProbeServer:
    """A small HTTP server for the kubelet and Prometheus."""

    def __init__(
        self, address: str, port: int, registry: CollectorRegistry, *, live: Check, ready: Check
    ) -> None:
        """Listen on *address* and *port* (0 for any free one); raises OSError if it is taken."""
        self._registry = registry
        self._checks = {"/healthz": live, "/readyz": ready}
        self._server = make_server(
            address, port, self._answer, server_class=_Server, handler_class=_QuietHandler
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="probes", daemon=True
        )

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
            return [generate_latest(self._registry)]
        check = self._checks.get(path)
        wrong = "no such page" if check is None else check()
        status = "404 Not Found" if check is None else "503 Service Unavailable"
        start_response("200 OK" if wrong is None else status, [("Content-Type", "text/plain")])
        return [(wrong or "ok").encode() + b"\n"]
