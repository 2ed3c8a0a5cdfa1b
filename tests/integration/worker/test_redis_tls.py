"""A store that is reached by TLS, its certificate checked against an authority of one's own."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from llmjobs_core.errors import StoreUnavailable
from llmjobs_core.pools import PoolRegistration
from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore, StoreOptions
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.tls_front import run_tls_front
from llmjobs_testing.worker_jobs import POOL, submit, wait_state
from llmjobs_testing.worker_process import WorkerProcess


@pytest.fixture
async def tls_url(valkey_url: str, tmp_path: Path) -> AsyncIterator[str]:
    """The store's URL, as `docs/install.md` has it."""
    plain = urlsplit(valkey_url)
    assert plain.port is not None
    async with run_tls_front(tmp_path / "tls", plain.port) as (port, authority):
        yield f"rediss://127.0.0.1:{port}{plain.path}?ssl_ca_certs={authority}"


async def test_a_worker_runs_jobs(tls_url: str, tmp_path: Path) -> None:
    store = JobStore.connect(StoreOptions(tls_url))
    await store.put_pool(PoolRegistration(key=POOL, models=("scripted",), concurrency=8))
    async with (
        ScriptedEngine() as engine,
        WorkerProcess(tls_url, engine.url, tmp_path / "worker.log", pool=str(POOL)) as worker,
    ):
        await worker.wait_logged("worker_started")
        record = await wait_state(store, await submit(store))
        assert record.state is JobState.SUCCEEDED
    await store.close()


async def test_a_certificate_of_an_unknown_authority_is_refused(tls_url: str) -> None:
    store = JobStore.connect(StoreOptions(tls_url.partition("?")[0]))
    with pytest.raises(StoreUnavailable):
        await store.list_workers()
    await store.close()
