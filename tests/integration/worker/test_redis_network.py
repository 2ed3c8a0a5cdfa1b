"""The network between a worker and Redis: slow, cut, silent; nothing is lost or done twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.tcp_proxy import Fault, TcpProxy
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import (
    fetch_watched_text,
    make_body,
    parse_content,
    submit,
    submit_batch,
    wait_state,
    wait_tokens,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


@pytest.fixture
def valkey_url(valkey: Valkey) -> str:
    return valkey.url


@pytest.fixture
async def link(valkey: Valkey) -> AsyncIterator[TcpProxy]:
    """The one way of the worker to its Redis."""
    async with TcpProxy("127.0.0.1", valkey.port) as link:
        yield link


@pytest.mark.parametrize("delay_s", [0.1, 0.5, 1.0])
async def test_a_slow_network_runs_nothing_twice(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker, link: TcpProxy, delay_s: float
) -> None:
    """A round trip is twice the delay."""
    link.latency_s = delay_s
    async with make_worker("a", redis_url=link.redis_url), make_worker("b") as second:
        await second.wait_logged("engine_healthy")
        job_ids = [
            await submit(store, make_body(tokens=500, seed=i, script={"rate": 50}))
            for i in range(12)
        ]
        for seed, job_id in enumerate(job_ids):
            job = await wait_state(store, job_id, timeout_s=90)
            assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
            assert await fetch_watched_text(store, job_id) == (build_text(500, seed), 0)
    assert len(engine.seen) == 12


async def test_connections_cut_every_second_lose_and_double_nothing(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker, link: TcpProxy
) -> None:
    count = 80
    bodies = [make_body(tokens=40, seed=i, script={"rate": 50}) for i in range(count)]

    async def cut_on() -> None:
        while True:
            await asyncio.sleep(1)
            link.cut()

    async with make_worker("a", redis_url=link.redis_url) as worker:
        await worker.wait_logged("engine_healthy")
        cutting = asyncio.create_task(cut_on())
        batch = await submit_batch(store, bodies)
        singles = [
            await submit(store, make_body(tokens=100, seed=i, script={"rate": 50}))
            for i in range(8)
        ]
        job = await wait_state(store, batch, timeout_s=120)
        for seed, job_id in enumerate(singles):
            assert (await wait_state(store, job_id, timeout_s=60)).state is JobState.SUCCEEDED
            assert await fetch_watched_text(store, job_id) == (build_text(100, seed), 0)
        cutting.cancel()
    assert (job.state, job.counts.succeeded) == (JobState.SUCCEEDED, count)
    results = await store.fetch_results(batch, 0, count)
    assert [parse_content(r) for r in results] == [build_text(40, i) for i in range(count)]
    assert len(engine.seen) == count + 8


@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "refused"])
async def test_a_worker_cut_off_alone_is_fenced(
    store: JobStore,
    engine: ScriptedEngine,
    make_worker: MakeWorker,
    link: TcpProxy,
    is_silent: bool,
) -> None:
    async with make_worker("a", redis_url=link.redis_url) as first:
        job_id = await submit(store, make_body(tokens=1500, script={"rate": 100}))
        await wait_tokens(store, job_id, 50)
        async with make_worker("b") as second:
            await second.wait_logged("engine_healthy")
            if is_silent:
                link.set_fault(Fault.SILENT)
            else:
                link.set_fault(Fault.REFUSE)
            cut_s = time.time()
            await eventually(lambda: len(engine.seen) == 2, what="the second request")
            assert 3 < engine.seen[1].opened_s - cut_s < 10
            await asyncio.sleep(max(0.0, cut_s + 8 - time.time()))
            assert engine.seen[0].closed_s is None
            link.set_fault(Fault.NONE)
            back_s = time.time()
            await eventually(lambda: engine.seen[0].closed_s is not None, what="the first closed")
            took_s = (engine.seen[0].closed_s or 0) - back_s
            job = await wait_state(store, job_id)
        assert took_s < 2, f"{took_s:.2f} s"
        await first.wait_logged("request_aborted")
        after = await submit(store)
        assert (await wait_state(store, after)).state is JobState.SUCCEEDED
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 2)
    assert await fetch_watched_text(store, job_id) == (build_text(1500), 0)


async def test_a_dead_connection_is_left_while_others_work(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker, valkey: Valkey
) -> None:
    """Half-open: what is connected never hears again, and new connections do."""
    async with (
        TcpProxy("127.0.0.1", valkey.port) as dead,
        TcpProxy("127.0.0.1", dead.port) as link,
        make_worker("a", redis_url=link.redis_url) as worker,
    ):
        await worker.wait_logged("engine_healthy")
        running = await submit(store, make_body(tokens=1500, script={"rate": 100}))
        await wait_tokens(store, running, 50)
        dead.set_fault(Fault.SILENT)
        link.target = ("127.0.0.1", valkey.port)
        dead_s = time.monotonic()
        waiting = await submit(store, make_body(tokens=16))
        job = await wait_state(store, waiting, timeout_s=30)
        took_s = time.monotonic() - dead_s
        assert job.state is JobState.SUCCEEDED
        # The fetch of its message was under way on a dead connection, so it is sent again.
        assert took_s < 15, f"{took_s:.1f} s"
        job = await wait_state(store, running)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
    assert await fetch_watched_text(store, running) == (build_text(1500), 0)
    assert len(engine.seen) == 2
