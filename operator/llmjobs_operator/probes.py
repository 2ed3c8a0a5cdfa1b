"""Health and metrics of the operator over HTTP."""

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from llmjobs_core.errors import RetryableError
from llmjobs_core.store import JobStore


def build_app(registry: CollectorRegistry, store: JobStore) -> web.Application:
    """Return the application with its three routes."""

    async def serve_health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def serve_ready(_: web.Request) -> web.Response:
        try:
            await store.ping()
        except RetryableError as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(text="ok\n")

    async def serve_metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/healthz", serve_health)
    app.router.add_get("/readyz", serve_ready)
    app.router.add_get("/metrics", serve_metrics)
    return app


async def start_probes(
    address: str, port: int, registry: CollectorRegistry, store: JobStore
) -> web.AppRunner:
    """Serve on *address*; raises OSError where the port is taken."""
    runner = web.AppRunner(build_app(registry, store), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    return runner
