"""What ``kubectl logs`` reaches: the API server asks the node, the node reads its log files."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from llmjobs_dev.certificates import KeyPair

_CHUNK = 65_536
_FOLLOW_S = 0.2
"""How often a followed log is looked at; a file has no event that all systems share."""

FindLog = Callable[[str, str, str], Path | None]
"""Namespace, pod and container to the log file; None if there is no such container."""


def build_app(find_log: FindLog) -> web.Application:
    """Return the application with the one route that is served."""

    async def serve_logs(request: web.Request) -> web.StreamResponse:
        log = find_log(*(request.match_info[name] for name in ("namespace", "pod", "container")))
        if log is None:
            raise web.HTTPNotFound(text="no such container on this node")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        follow = request.query.get("follow") in {"true", "1"}
        offset = _tail_offset(log, request.query.get("tailLines"))
        while True:
            data = await asyncio.to_thread(_read, log, offset)
            if data:
                offset += len(data)
                await response.write(data)
            elif follow:
                await asyncio.sleep(_FOLLOW_S)
            else:
                return response

    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", serve_logs)
    return app


def _read(log: Path, offset: int) -> bytes:
    if not log.exists():
        return b""
    with log.open("rb") as source:
        source.seek(offset)
        return source.read(_CHUNK)


def _tail_offset(log: Path, lines: str | None) -> int:
    if lines is None or not lines.isdigit() or not log.exists():
        return 0
    data = log.read_bytes()
    kept = b"".join(data.splitlines(keepends=True)[-int(lines) :]) if int(lines) else b""
    return len(data) - len(kept)


async def start_logs_server(
    find_log: FindLog, pair: KeyPair, authority: Path
) -> tuple[web.AppRunner, int]:
    """Serve on a free loopback port, to holders of a certificate of *authority* only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pair.certificate, pair.key)
    runner = web.AppRunner(build_app(find_log), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port: int = runner.addresses[0][1]
    return runner, port
