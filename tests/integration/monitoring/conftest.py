"""One run of the system for all tests of this folder."""

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from llmjobs_testing.monitored import Seen, observe
from llmjobs_testing.servers import ServerThread


@pytest.fixture(scope="session")
def seen(server_thread: ServerThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """What Prometheus saw; it still answers."""
    stack = AsyncExitStack()
    try:
        yield server_thread.run(observe(stack, tmp_path_factory.mktemp("monitored")))
    finally:
        server_thread.run(stack.aclose())
