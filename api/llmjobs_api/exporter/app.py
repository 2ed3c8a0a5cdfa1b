"""The exporter's three routes; each scrape reads the store anew."""

import asyncio
from collections.abc import Iterable, Iterator

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llmjobs_api.exporter.families import Snapshot, build_families, build_info, build_up
from llmjobs_core.errors import RetryableError, StoreFull
from llmjobs_core.store import JobStore

_log = structlog.get_logger(__name__)


class _Families(Collector):
    """Families that are made already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self._families


async def read_snapshot(store: JobStore) -> Snapshot:
    """Return what the store says now. Raises StoreUnavailable."""
    keys, counters, is_writable = await asyncio.gather(
        store.list_pools(), store.fetch_counters(), _is_writable(store)
    )
    # None: dropped since the list was read.
    found = [stats for stats in await store.fetch_pools(keys) if stats is not None]
    return Snapshot(counters, found, is_writable)


async def _is_writable(store: JobStore) -> bool:
    try:
        await store.check_writable()
    except StoreFull:
        return False
    return True


def build_app(store: JobStore, *, scrape_timeout_s: float) -> web.Application:
    """Return the application. Where the store can't be read, its metrics are absent, not zero."""

    async def serve_metrics(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(scrape_timeout_s):
                snapshot = await read_snapshot(store)
        except (RetryableError, TimeoutError) as error:
            _log.warning("store_not_read", error=str(error) or type(error).__name__)
            families = [build_up(is_up=False), build_info()]
        else:
            families = [build_up(is_up=True), build_info(), *build_families(snapshot)]
        registry = CollectorRegistry()
        registry.register(_Families(families))
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async def serve_health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def serve_ready(_: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(scrape_timeout_s):
                await store.ping()
        except (RetryableError, TimeoutError):
            return web.Response(status=503, text="the store does not answer\n")
        return web.Response(text="ok\n")

    app = web.Application()
    app.router.add_get("/metrics", serve_metrics)
    app.router.add_get("/healthz", serve_health)
    app.router.add_get("/readyz", serve_ready)
    return app
