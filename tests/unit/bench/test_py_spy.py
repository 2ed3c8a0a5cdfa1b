"""Where py-spy may not look, the error says what to do about it."""

import pytest

from llmjobs_bench.py_spy import explain


@pytest.mark.parametrize(
    "said",
    [
        "Permission Denied: Try running again with elevated permissions by going 'sudo env ...'",
        "Error: Failed to suspend process\nReason: EPERM: Operation not permitted",
    ],
)
def test_missing_rights_are_named_with_the_remedy(said: str) -> None:
    assert "ptrace_scope=0" in explain(said)
    assert "SYS_PTRACE" in explain(said)


def test_anything_else_is_told_as_it_is() -> None:
    assert explain("Error: No such file\n") == "py-spy failed: Error: No such file"
