"""Whatever the gateway's own OpenAPI document allows, nothing gives a 5xx."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from llmjobs_core.names import PoolKey
from llmjobs_testing.driver import Driver
from llmjobs_testing.gateways import run_gateway


@pytest.fixture
def gateway_url(valkey_url: str) -> Iterator[str]:
    """A gateway with a pool, on an event loop in a thread of its own."""
    started, stop = threading.Event(), threading.Event()
    found: list[str] = []

    async def serve() -> None:
        driver = Driver(valkey_url, PoolKey("team-a", "gemma"))
        await driver.publish()
        async with run_gateway(valkey_url, max_wait_s=0.1) as gateway:
            found.append(gateway.client.base)
            started.set()
            await asyncio.to_thread(stop.wait)
        await driver.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(30)
    yield found[0]
    stop.set()
    thread.join()


@pytest.mark.timeout(300)
def test_nothing_that_the_document_allows_gives_a_5xx(gateway_url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{gateway_url}/openapi.json")
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result.err()
        operation = result.ok()

        @settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def never_5xx(case: schemathesis.Case[Any]) -> None:
            response = case.call(timeout=10)
            assert response.status_code < 500, response.text

        never_5xx()
        tried += 1
    assert tried > 15
