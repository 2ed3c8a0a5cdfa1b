"""``llmjobs-exporter``: serves metrics until SIGTERM or SIGINT."""

import asyncio
import signal
import sys

import structlog
from aiohttp import web

from llmjobs_api.exporter.app import build_app
from llmjobs_api.exporter.settings import ExporterSettings
from llmjobs_core.logs import LogFormat, configure_logging
from llmjobs_core.settings_errors import explain_settings_error
from llmjobs_core.store import JobStore

_log = structlog.get_logger(__name__)


async def run_exporter(settings: ExporterSettings, stop: asyncio.Event) -> None:
    """Serve until *stop* is set. Raises OSError where the port is taken."""
    store = JobStore.connect(settings.store)
    app = build_app(store, scrape_timeout_s=settings.scrape_timeout_s)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        _log.info("exporter_started", addresses=[str(address) for address in runner.addresses])
        await stop.wait()
    finally:
        await runner.cleanup()
        await store.close()


async def _run(settings: ExporterSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run_exporter(settings, stop)


def main() -> None:
    """Run the exporter; exit code 2 for settings that can't be used, 3 for a taken port."""
    try:
        settings = ExporterSettings()
        configure_logging(settings.log_format, settings.log_level)
    except ValueError as error:
        configure_logging(LogFormat.CONSOLE, "info")
        _log.critical("settings_invalid", problems=explain_settings_error(error))
        sys.exit(2)
    try:
        asyncio.run(_run(settings))
    except OSError as error:
        _log.critical("exporter_failed", error=str(error))
        sys.exit(3)


if __name__ == "__main__":
    main()
