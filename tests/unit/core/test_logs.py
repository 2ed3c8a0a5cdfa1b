"""Every line that a process logs is one JSON object, whoever wrote it."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from llmjobs_core.logs import LogFormat, configure_logging


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_an_event_keeps_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.JSON, "info")
    structlog.get_logger("llmjobs").info("job_completed", job="job-1", tokens=3)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["job"], line["tokens"]) == ("job_completed", "job-1", 3)
    assert line["level"] == "info"


def test_a_librarys_record_has_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.JSON, "info")
    logging.getLogger("kombu").warning("lost %s", "it")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["logger"], line["level"]) == ("lost it", "kombu", "warning")


def test_less_than_the_level_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.CONSOLE, "warning")
    structlog.get_logger("llmjobs").info("quiet")
    structlog.get_logger("llmjobs").error("loud")
    assert "quiet" not in (err := capsys.readouterr().err)
    assert "loud" in err


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging(LogFormat.JSON, "loud")
