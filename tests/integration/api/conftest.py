"""A gateway with one pool whose worker the test plays itself."""

from collections.abc import AsyncIterator

import pytest_asyncio

from llmjobs_core.names import PoolKey
from llmjobs_testing.driver import Driver
from llmjobs_testing.gateways import Client, RunningGateway, run_gateway


@pytest_asyncio.fixture
async def driver(valkey_url: str) -> AsyncIterator[Driver]:
    """The pool ``team-a/gemma`` with a worker of 4 slots."""
    found = Driver(valkey_url, PoolKey("team-a", "gemma"))
    await found.publish()
    yield found
    await found.close()


@pytest_asyncio.fixture
async def gateway(valkey_url: str) -> AsyncIterator[RunningGateway]:
    async with run_gateway(valkey_url) as running:
        yield running


@pytest_asyncio.fixture
async def client(gateway: RunningGateway, driver: Driver) -> Client:
    """A client of a gateway with that pool."""
    return gateway.client
