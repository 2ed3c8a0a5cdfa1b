"""A page that a real vLLM served, for tests that run none; made by tests/vllm/record_metrics.py."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

RECORDED = Path(__file__).with_name("vllm_metrics.txt")


def repeat(page: str, times: int) -> str:
    """Return the page of an engine that did *times* as much; gauges are as recorded."""
    lines, counts = [], False
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            counts = line.split()[3] in {"counter", "histogram"}
        if counts and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            lines.append(f"{series} {float(value) * times}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


class VllmPage:
    """The page of an engine that did one recording's worth of work more at each reading."""

    def __init__(self) -> None:
        self._readings = 0

    def read(self) -> str:
        """Return the page as it is now."""
        self._readings += 1
        return repeat(RECORDED.read_text(encoding="utf-8"), self._readings)


@asynccontextmanager
async def run_vllm_page() -> AsyncIterator[int]:
    """Serve the page; gives its port."""
    page = VllmPage()

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=page.read())

    app = web.Application()
    app.router.add_get("/metrics", serve)
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port
