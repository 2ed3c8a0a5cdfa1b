"""What a stream's reads give, whether they wait or not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmjobs_testing.stream_content import DONE, FIRST, REFUSAL, TOKEN, Content
from llmjobs_worker.engine_stream import EngineStream
from llmjobs_worker.retry import EngineError


@pytest.fixture
def content() -> Content:
    return Content()


@pytest.fixture
async def stream(content: Any) -> AsyncIterator[EngineStream]:
    async with asyncio.timeout(60) as limit:
        yield EngineStream(content, limit, 30.0, chat=True)


async def test_nothing_is_told_from_silence(content: Content, stream: EngineStream) -> None:
    assert stream.read_ready() is None
    content.reads = [FIRST]
    assert len(await stream.read() or []) == 1
    assert stream.read_ready() is None
    assert not stream.is_ended


async def test_an_error_in_the_stream_is_not_covered_by_its_end(
    content: Content, stream: EngineStream
) -> None:
    content.reads = [FIRST + TOKEN + REFUSAL, DONE]
    assert len(await stream.read() or []) == 2
    assert stream.read_ready() is None
    with pytest.raises(EngineError) as caught:
        await stream.read()
    assert (caught.value.failure.status, caught.value.failure.retryable) == (400, False)


async def test_a_broken_connection_is_told_by_the_next_read(
    content: Content, stream: EngineStream
) -> None:
    content.error = ConnectionResetError()
    assert stream.read_ready() is None
    with pytest.raises(ConnectionResetError):
        await stream.read()


async def test_the_end_is_told(content: Content, stream: EngineStream) -> None:
    content.reads = [FIRST + DONE]
    await stream.read()
    assert stream.is_ended


async def test_a_stream_that_just_stops_has_ended_too(
    content: Content, stream: EngineStream
) -> None:
    content.reads = [FIRST]
    await stream.read()
    assert await stream.read() is None
    assert stream.is_ended
