"""A reader of live events that falls behind gets all of them, or is told that some are gone."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import redis.asyncio

from llmjobs_core.errors import StoreUnavailable
from llmjobs_core.store import ShardReader, StoreOptions, build_feed_client
from llmjobs_core.store.keys import shards

SHARD = shards("llmjobs:")[3]


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    client = build_feed_client(StoreOptions(url=valkey_url))
    yield client
    await client.aclose()


async def write(client: redis.asyncio.Redis, numbers: range, *, keep: int = 5000) -> None:
    """Write an event of each number, and have the server keep the last *keep* of all."""
    pipe = client.pipeline(transaction=False)
    for number in numbers:
        events = [["job-1", f"{number}-0", "t", "delta", "text", "a", "tokens", str(number)]]
        pipe.xadd(SHARD, {"d": msgspec.msgpack.encode(events)})
    pipe.xtrim(SHARD, maxlen=keep, approximate=False)
    await pipe.execute()


async def test_a_reader_that_is_behind_catches_up_in_order(client: redis.asyncio.Redis) -> None:
    reader = ShardReader(client)
    await write(client, range(1))
    await reader.start()
    await write(client, range(1, 1000))
    found: list[str] = []
    while some := await reader.read(block_ms=1):
        found += [one.event.id for one in some]
    assert found == [f"{number}-0" for number in range(1, 1000)]


async def test_a_reader_that_missed_events_says_so(client: redis.asyncio.Redis) -> None:
    reader = ShardReader(client)
    await write(client, range(1))
    await reader.start()
    await write(client, range(1, 1000), keep=600)
    with pytest.raises(StoreUnavailable):
        await reader.read(block_ms=1)
