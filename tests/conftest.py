"""The servers that integration and end-to-end tests share, started when first asked for."""

from collections.abc import Iterator

import pytest
import redis

from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.servers import ServerThread, start_control_plane, start_valkey


@pytest.fixture(scope="session")
def server_thread() -> Iterator[ServerThread]:
    thread = ServerThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def valkey_process(
    server_thread: ServerThread, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Valkey]:
    """One Valkey for all tests of this process; ask for ``valkey_url`` to have it empty."""
    valkey = start_valkey(server_thread, tmp_path_factory.mktemp("valkey"))
    yield valkey
    server_thread.run(valkey.stop())


@pytest.fixture
def valkey_url(valkey_process: Valkey) -> str:
    """The URL of a real Valkey, emptied for this test."""
    with redis.Redis.from_url(valkey_process.url) as client:
        client.flushall()
        client.script_flush()
    return valkey_process.url


@pytest.fixture(scope="session")
def control_plane(
    server_thread: ServerThread, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """One real control plane for all tests of this process; use a namespace of your own."""
    plane = start_control_plane(server_thread, tmp_path_factory.mktemp("control-plane"))
    yield plane
    server_thread.run(plane.stop())
