"""``llmjobs-api``: the gateway as a process."""

import sys

import structlog

from llmjobs_api.app import create_app
from llmjobs_api.ports import build_ports
from llmjobs_api.server import build_server
from llmjobs_api.settings import GatewaySettings
from llmjobs_core.collector import relax_collector
from llmjobs_core.logs import LogFormat, configure_logging
from llmjobs_core.settings_errors import explain_settings_error


def main() -> None:
    """Serve until SIGTERM or SIGINT; exits with 2 when the settings are wrong."""
    try:
        settings = GatewaySettings()
        configure_logging(settings.log_format, settings.log_level)
    except ValueError as error:
        configure_logging(LogFormat.CONSOLE, "info")
        structlog.get_logger(__name__).error(
            "settings_invalid", problems=explain_settings_error(error)
        )
        sys.exit(2)
    app = create_app(settings, build_ports(settings))
    server = build_server(
        app, host=settings.host, port=settings.port, grace_s=settings.shutdown_grace_s
    )
    relax_collector()
    server.run()
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main()
