"""A replica takes over: at most the last second is repeated, and nothing ends twice."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis

from llmjobs_core.states import JobState
from llmjobs_core.store import JobStore
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.engine_text import build_text
from llmjobs_testing.tcp_proxy import TcpProxy
from llmjobs_testing.waiting import eventually
from llmjobs_testing.worker_jobs import (
    fetch_watched_text,
    make_body,
    submit,
    wait_state,
    wait_tokens,
)
from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


@pytest.fixture
async def replica(valkey: Valkey, tmp_path: Path) -> AsyncIterator[Valkey]:
    """A replica of the primary, which has all of it."""
    replica = Valkey(tmp_path / "replica", tmp_path / "replica.log")
    await replica.start()
    await replica.follow(valkey)
    yield replica
    await replica.stop()


@pytest.fixture
async def link(valkey: Valkey) -> AsyncIterator[TcpProxy]:
    """The one address that everybody has."""
    async with TcpProxy("127.0.0.1", valkey.port) as link:
        yield link


@pytest.fixture
def valkey_url(link: TcpProxy) -> str:
    return link.redis_url


async def test_work_goes_on_when_the_primary_dies(
    valkey: Valkey,
    replica: Valkey,
    link: TcpProxy,
    store: JobStore,
    engine: ScriptedEngine,
    make_worker: MakeWorker,
) -> None:
    async with make_worker("a"):
        job_id = await submit(store, make_body(tokens=900, script={"rate": 100}))
        await wait_tokens(store, job_id, 50)
        valkey.kill()
        await valkey.wait()
        await replica.promote()
        link.target = ("127.0.0.1", replica.port)
        after = await submit(store, make_body(tokens=16))
        for one, tokens in ((job_id, 900), (after, 16)):
            job = await wait_state(store, one, timeout_s=30)
            assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
            assert (await fetch_watched_text(store, one))[0] == build_text(tokens)
    assert len(engine.seen) == 2


async def test_connections_to_a_demoted_primary_are_left(
    valkey: Valkey,
    replica: Valkey,
    link: TcpProxy,
    store: JobStore,
    engine: ScriptedEngine,
    make_worker: MakeWorker,
) -> None:
    """It still answers, and refuses every write: READONLY."""
    async with make_worker("a") as worker:
        job_id = await submit(store, make_body(tokens=900, script={"rate": 100}))
        await wait_tokens(store, job_id, 50)
        await replica.promote()
        link.target = ("127.0.0.1", replica.port)
        await valkey.follow(replica)
        after = await submit(store, make_body(tokens=16))
        for one, tokens in ((job_id, 900), (after, 16)):
            job = await wait_state(store, one, timeout_s=30)
            assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
            assert (await fetch_watched_text(store, one))[0] == build_text(tokens)
        assert worker.process.returncode is None
    assert len(engine.seen) == 2


async def test_what_was_not_replicated_runs_again_and_ends_once(
    valkey: Valkey,
    replica: Valkey,
    link: TcpProxy,
    store: JobStore,
    engine: ScriptedEngine,
    make_worker: MakeWorker,
) -> None:
    async with make_worker("a"):
        job_id = await submit(store, make_body(tokens=300, script={"rate": 100}))
        await wait_tokens(store, job_id, 50)
        fence = await fetch_fence(store, job_id)
        async with TcpProxy("127.0.0.1", 1) as nowhere:
            with redis.Redis.from_url(replica.url) as client:
                # It loses its primary, and with it what happens from here.
                client.replicaof("127.0.0.1", str(nowhere.port))
                assert (await wait_state(store, job_id)).state is JobState.SUCCEEDED
                valkey.kill()
                await valkey.wait()
                client.replicaof("NO", "ONE")
        link.target = ("127.0.0.1", replica.port)
        job = await wait_state(store, job_id, timeout_s=30)
        assert (job.state, job.attempts) == (JobState.SUCCEEDED, 2)
        assert await fetch_fence(store, job_id) > fence
    assert len(engine.seen) == 2
    assert engine.seen[1].start >= 49
    assert (await fetch_watched_text(store, job_id))[0] == build_text(300)


async def fetch_fence(store: JobStore, job_id: str) -> int:
    found = await store.client.hget(f"llmjobs:job:{job_id}", "ufence")
    assert found is not None
    return int(found)


async def test_a_clock_that_is_behind_holds_up_no_recovery(
    store: JobStore, engine: ScriptedEngine, make_worker: MakeWorker
) -> None:
    """What the old primary wrote is an hour ahead, as seen from the new one."""
    ahead_ms = (time.time_ns() // 1_000_000) + 3_600_000
    async with make_worker("a") as first:
        job_id = await submit(store, make_body(tokens=900, script={"rate": 100}))
        await wait_tokens(store, job_id, 50)
        first.process.kill()
        await first.process.wait()
        leases = {job_id: ahead_ms + 5000}
        await store.client.zadd("llmjobs:leases", leases)
        await store.client.set("llmjobs:reaped", ahead_ms)
        await store.client.hset(f"llmjobs:job:{job_id}", "ufence", str(ahead_ms))
        moved_s = time.monotonic()
        async with make_worker("b"):
            await eventually(lambda: len(engine.seen) == 2, what="the second request")
            assert time.monotonic() - moved_s < 10
            job = await wait_state(store, job_id)
    assert job.state is JobState.SUCCEEDED
    assert await fetch_fence(store, job_id) == ahead_ms + 1
    assert await fetch_watched_text(store, job_id) == (build_text(900), 0)
