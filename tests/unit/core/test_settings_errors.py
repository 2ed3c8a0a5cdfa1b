"""What is said of wrong settings."""

import pytest
from pydantic import ValidationError

from llmjobs_core.settings_errors import explain_settings_error
from llmjobs_worker.settings import WorkerSettings


def test_a_wrong_setting_is_named_by_its_variable_and_never_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        WorkerSettings(pool="very-secret-value", concurrency=0)
    text = "\n".join(explain_settings_error(caught.value))
    assert "LLMJOBS_POOL: Value error, must be namespace/name" in text
    assert "LLMJOBS_CONCURRENCY" in text
    assert "very-secret-value" not in text
