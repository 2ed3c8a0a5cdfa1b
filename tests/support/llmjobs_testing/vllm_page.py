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


@asynccontextmanager
async def run_vllm_page() -> AsyncIterator[int]:
    """Serve the page, one recording's worth of work more with every scrape; gives its port."""
    page, scrapes = RECORDED.read_text(encoding="utf-8"), 0

    async def serve(_: web.Request) -> web.Response:
        nonlocal scrapes
        scrapes += 1
        return web.Response(text=repeat(page, scrapes))

    app = web.Application()
    app.router.add_get("/metrics", serve)
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port
