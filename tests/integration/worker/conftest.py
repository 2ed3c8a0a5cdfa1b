"""A store, a pool and an engine for each test of the worker, and workers by demand."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from llmjobs_core.pools import PoolRegistration
from llmjobs_core.store import JobStore, StoreOptions
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.worker_jobs import POOL
from llmjobs_testing.worker_process import WorkerProcess


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A Valkey of the test's own, to be killed; its module makes it the one of ``valkey_url``."""
    valkey = Valkey(tmp_path / "valkey", tmp_path / "valkey.log")
    await valkey.start()
    yield valkey
    await valkey.stop()


@pytest.fixture
async def store(valkey_url: str) -> AsyncIterator[JobStore]:
    store = JobStore.connect(StoreOptions(valkey_url))
    await store.put_pool(PoolRegistration(key=POOL, models=("scripted",), concurrency=8))
    yield store
    await store.close()


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with ScriptedEngine() as engine:
        yield engine


@pytest.fixture
def make_worker(
    valkey_url: str, engine: ScriptedEngine, tmp_path: Path
) -> Callable[..., WorkerProcess]:
    """Return a function that gives a worker, to be entered: ``async with make_worker("a")``."""

    def make(name: str, **settings: str) -> WorkerProcess:
        log = tmp_path / f"{name}.log"
        wanted = {"redis_url": valkey_url, "engine_url": engine.url, **settings}
        return WorkerProcess(log=log, pool=str(POOL), **wanted)

    return make
