"""A real vLLM for all tests here, started once, and workers for it by demand."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from llmjobs_core.pools import PoolRegistration
from llmjobs_core.store import JobStore, StoreOptions
from llmjobs_testing.servers import ServerThread
from llmjobs_testing.vllm_server import MODEL, VLLMServer
from llmjobs_testing.worker_jobs import POOL
from llmjobs_testing.worker_process import WorkerProcess

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def vllm(
    server_thread: ServerThread, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VLLMServer]:
    programs = ROOT / ".tools" / "vllm" / "bin"
    assert (programs / "vllm").exists(), "run `make test-vllm`: it installs vLLM"
    make_model = Path(__file__).with_name("make_model.py")
    server = VLLMServer(programs, make_model, tmp_path_factory.mktemp("vllm"))
    try:
        server_thread.run(server.start())
        yield server
    finally:
        server_thread.run(server.stop())


@pytest.fixture
async def store(valkey_url: str) -> AsyncIterator[JobStore]:
    store = JobStore.connect(StoreOptions(valkey_url))
    await store.put_pool(PoolRegistration(key=POOL, models=(MODEL,), concurrency=4))
    yield store
    await store.close()


@pytest.fixture
def make_worker(
    valkey_url: str, vllm: VLLMServer, tmp_path: Path
) -> Callable[[str], WorkerProcess]:
    """Return a function that gives a worker, to be entered: ``async with make_worker("a")``."""

    def make(name: str) -> WorkerProcess:
        return WorkerProcess(valkey_url, vllm.url, tmp_path / f"{name}.log", pool=str(POOL))

    return make
