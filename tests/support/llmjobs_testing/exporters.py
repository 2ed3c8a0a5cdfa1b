"""A real exporter on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.test_utils import TestServer

from llmjobs_api.exporter.app import build_app
from llmjobs_core.store import JobStore, StoreOptions


@asynccontextmanager
async def run_exporter(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve the store at *url*; gives a client of it."""
    store = JobStore.connect(StoreOptions(url))
    async with (
        TestServer(build_app(store, scrape_timeout_s=5)) as server,
        aiohttp.ClientSession(str(server.make_url("/"))) as http,
    ):
        yield http
    await store.close()
