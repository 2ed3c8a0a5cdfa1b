"""What the engine's client makes of an event loop that can't open a connection."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from llmjobs_worker.engine_client import EngineClient, Health
from llmjobs_worker.retry import EngineError


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EngineClient]:
    """A client whose connections fail as uvloop's do after a descriptor was closed under it."""

    async def request(*_: Any, **__: Any) -> Any:
        raise RuntimeError("File descriptor 9 is used by transport <TCPTransport closed=False>")

    monkeypatch.setattr(aiohttp.ClientSession, "request", request)
    async with EngineClient("http://127.0.0.1:1") as client:
        yield client


async def test_a_request_was_not_taken_and_is_tried_again(client: EngineClient) -> None:
    with pytest.raises(EngineError) as caught:
        await client.fetch_whole("/v1/embeddings", {})
    failure = caught.value.failure
    assert (failure.error.code, failure.retryable) == ("engine_unreachable", True)
    assert not failure.was_taken


async def test_a_stream_was_not_taken_and_is_tried_again(client: EngineClient) -> None:
    with pytest.raises(EngineError) as caught:
        async with client.open_stream("/v1/completions", {}):
            pass
    assert not caught.value.failure.was_taken


async def test_it_says_nothing_of_the_engines_health(client: EngineClient) -> None:
    assert await client.fetch_health("/health") is Health.UNKNOWN
    assert await client.fetch_traits() is None
