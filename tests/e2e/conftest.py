"""One stack for all tests of a module."""

from collections.abc import Iterator

import pytest

from llmjobs_testing.local_stack import START_TIMEOUT_S, LocalStack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack that runs, without the examples."""
    stack = LocalStack(tmp_path_factory.mktemp("stack") / "data")
    started = stack.run("up", "--detach", "--no-examples", timeout_s=START_TIMEOUT_S)
    assert started.returncode == 0, started.stdout + started.stderr
    yield stack
    assert stack.run("down").returncode == 0
