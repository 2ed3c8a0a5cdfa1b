"""A worker whose lease thread died must not go on: every job that it took would be lost to it."""

from collections.abc import Callable

import redis

from llmjobs_testing.worker_process import WorkerProcess

MakeWorker = Callable[..., WorkerProcess]


async def test_a_worker_ends_with_its_lease_thread(
    valkey_url: str, make_worker: MakeWorker
) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        client.acl_setuser("worker", enabled=True, nopass=True, commands=["+@all"], keys=["*"])
        url = valkey_url.replace("redis://", "redis://worker:any@")
        async with make_worker("a", redis_url=url) as worker:
            await worker.wait_logged("engine_healthy")
            # Still enabled: a connection that is refused looks like a Redis that is away.
            client.acl_setuser("worker", enabled=True, nopass=True, commands=["-evalsha", "-eval"])
            assert await worker.wait_ended() == 1
        assert worker.logged("lease_thread_died") > 0
        client.acl_deluser("worker")
