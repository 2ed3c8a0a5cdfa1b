"""``llmjobs-worker``: runs one worker process until SIGTERM."""

import os
import signal
import sys

import structlog
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from llmjobs_core.collector import relax_collector
from llmjobs_core.logs import LogFormat, configure_logging
from llmjobs_core.settings_errors import explain_settings_error
from llmjobs_worker.celery_runner import CeleryRunner, start_exit_timer
from llmjobs_worker.service import WorkerService
from llmjobs_worker.settings import WorkerSettings

_log = structlog.get_logger("llmjobs_worker")


class WorkerProcess:
    """Settings, service and Celery, and what the signals do."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._service = WorkerService(settings, registry, on_fatal=lambda: self._leave(1))
        self._celery = CeleryRunner(
            settings.redis_url.get_secret_value(),
            name=self._service.worker_id,
            queue=settings.pool_key.queue,
            intake=self._service.intake,
            start_chunk=self._service.start_chunk,
            fetch_started=self._service.count_started,
            ask_store=self._service.ask_store,
        )
        self._is_leaving = False

    def run(self) -> int:
        """Work until a signal; returns the exit code."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._take_signal)
        self._service.start()
        _log.info(
            "worker_started",
            worker=self._service.worker_id,
            pool=self._settings.pool,
            slots=self._settings.concurrency,
            probes_port=self._service.probes_port,
        )
        code = self._celery.run()
        self._service.stop()
        _log.info("worker_stopped", exit_code=code)
        return code

    def _take_signal(self, signum: int, _: object) -> None:
        if self._is_leaving:
            os._exit(128 + signum)  # asked twice: whatever is left is for the leases to recover
        self._leave(0)

    def _leave(self, exit_code: int) -> None:
        self._is_leaving = True
        start_exit_timer(self._settings.drain_budget_s, lambda: os._exit(1))
        self._service.begin_drain(lambda: self._celery.stop(exit_code))


def main() -> None:
    """Run the worker with settings from the environment; exit code 2 where they are wrong."""
    try:
        settings = WorkerSettings()
        configure_logging(settings.log_format, settings.log_level)
    except ValueError as error:
        configure_logging(LogFormat.CONSOLE, "info")
        _log.critical("settings_invalid", problems=explain_settings_error(error))
        sys.exit(2)
    process = WorkerProcess(settings)
    relax_collector()
    sys.exit(process.run())


if __name__ == "__main__":
    main()
