"""``llmjobs-operator``: reads its settings and runs until SIGTERM or SIGINT."""

import asyncio
import logging
import sys

import structlog

from llmjobs_core.errors import PermanentError
from llmjobs_core.logs import LogFormat, configure_logging
from llmjobs_core.settings_errors import explain_settings_error
from llmjobs_operator.app import run_operator
from llmjobs_operator.settings import OperatorSettings
from llmjobs_operator.watching import end_at_signals

_log = structlog.get_logger(__name__)


async def _run(settings: OperatorSettings) -> None:
    stop = asyncio.Event()
    end_at_signals(stop)
    await run_operator(settings, stop)


def main() -> None:
    """Run the operator; exit code 2 for settings that can't be used."""
    try:
        settings = OperatorSettings()
        configure_logging(settings.log_format, settings.log_level)
    except ValueError as error:
        configure_logging(LogFormat.CONSOLE, "info")
        _log.critical("settings_invalid", problems=explain_settings_error(error))
        sys.exit(2)
    # Kopf logs each object it sees; ours say what was done.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    try:
        # Not by uvloop: where an API server resets connections, it may take a new one for an old
        # one of the same number. Such an error ended Kopf, and nothing was watched or led after it.
        asyncio.run(_run(settings))
    except PermanentError as error:
        _log.critical("operator_failed", error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
