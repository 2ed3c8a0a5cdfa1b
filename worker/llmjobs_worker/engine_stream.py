"""One answer of the engine as it comes: its reads, and how long silence between them is borne.

Part of `engine_client`, which opens it, and makes an `EngineError` of whatever its reading raises.
"""

import asyncio

import aiohttp

from llmjobs_worker.chunk_reader import ChunkReader, Part
from llmjobs_worker.retry import EngineError, Failure

_IDLE_SLACK_S = 1.0
"""Most that a silent stream may be borne longer than said: a timer a token would cost as much as
the token."""


class EngineStream:
    """The chunks of one answer, those of one read together."""

    def __init__(
        self, content: aiohttp.StreamReader, limit: asyncio.Timeout, idle_s: float, *, chat: bool
    ) -> None:
        """*limit* is pushed back as data comes, to leave *idle_s* and little more for the next."""
        self._content = content
        self._limit = limit
        self._idle_s = idle_s
        self._slack_s = min(_IDLE_SLACK_S, idle_s / 10)
        self._extend_at_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._reader = ChunkReader(chat=chat)
        self.has_begun = False
        """Whether anything has come."""
        self.is_ended = False
        """Whether the engine has ended its stream, with its answer whole or not."""

    async def read(self) -> list[Part] | None:
        """Wait for what comes next; None where the engine ends its stream."""
        if isinstance(self._reader.end, Failure):
            raise EngineError(self._reader.end)
        data = await self._content.readany()
        if not data:
            self.is_ended = True
            return None
        return self._take(data)

    def read_ready(self) -> list[Part] | None:
        """Return what has come since the last read; None if nothing has.

        None also where the stream broke or failed, which the next `read` tells. Call while none
        waits.
        """
        is_over = self._reader.end or self._content.exception() is not None
        data = b"" if is_over else self._content.read_nowait()
        return self._take(data) if data else None

    def _take(self, data: bytes) -> list[Part]:
        self.has_begun = True
        if (now_s := self._loop.time()) >= self._extend_at_s:
            self._extend_at_s = now_s + self._slack_s
            self._limit.reschedule(now_s + self._idle_s + self._slack_s)
        parts = self._reader.feed(data)
        self.is_ended = self._reader.end is True
        return parts
