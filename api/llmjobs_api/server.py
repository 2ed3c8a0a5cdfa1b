"""uvicorn as this gateway runs it: streams end first, then everything else gets its grace."""

import socket

import uvicorn
from fastapi import FastAPI

from llmjobs_api.app import begin_drain
from llmjobs_api.http_protocol import BoundedProtocol


class Server(uvicorn.Server):
    """Ends event streams at shutdown; they would hold it up until the grace is over."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._gateway_app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down in order."""
        begin_drain(self._gateway_app)
        await super().shutdown(sockets)


def build_server(app: FastAPI, *, host: str, port: int, grace_s: float) -> Server:
    """Return a server for *app*; log lines go through `logging` as everything else's."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=max(1, round(grace_s)),
        timeout_keep_alive=30,
        ws_max_size=4096,
        ws_per_message_deflate=False,
    )
    return Server(config, app)
