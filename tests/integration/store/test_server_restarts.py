"""A restart of Redis costs the calls that were under way, and no later one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmjobs_core.store.connection import StoreOptions, build_async_client
from llmjobs_dev.valkey import Valkey

CONNECTIONS = 8


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    """One that the test may restart."""
    found = Valkey(tmp_path / "data", tmp_path / "valkey.log")
    await found.start()
    yield found
    await found.stop()


async def restart(valkey: Valkey) -> None:
    valkey.kill()
    await valkey.wait()
    await valkey.start()


async def test_connections_that_lay_idle_during_a_restart_cost_no_call(valkey: Valkey) -> None:
    async with build_async_client(StoreOptions(valkey.url)) as client:
        await asyncio.gather(*(client.ping() for _ in range(CONNECTIONS)))
        await restart(valkey)
        await asyncio.gather(*(client.ping() for _ in range(CONNECTIONS)))
