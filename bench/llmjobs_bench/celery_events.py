"""What Celery's workers tell of their tasks, as Flower and exporters read it.

So every kind of worker is timed by the same clock and the same signs, and events are known to be
on. Read straight from the channel, since Celery's own receiver would cost more than the workers.
"""

import asyncio
import base64
from collections import Counter
from types import TracebackType
from typing import Any, Self

import msgspec
import redis.asyncio

from llmjobs_core.tasks import end_tasks

_CHANNELS = "/*.celeryev/*"


class _Envelope(msgspec.Struct):
    body: str


class Event(msgspec.Struct):
    """One event; *timestamp* is its worker's clock, in seconds since the epoch."""

    type: str
    timestamp: float = 0.0


_envelopes = msgspec.json.Decoder(_Envelope)
_batches = msgspec.json.Decoder(list[Event] | Event)


class CeleryEvents:
    """Counts the events of all workers from when it is entered."""

    def __init__(self, redis_url: str) -> None:
        self._client = redis.asyncio.Redis.from_url(redis_url)
        self._pubsub = self._client.pubsub()
        self._reading: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()
        """Events by type."""
        self.succeeded_s: list[float] = []
        """When tasks ended well."""

    async def __aenter__(self) -> Self:
        await self._pubsub.psubscribe(_CHANNELS)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._reading is not None
        await end_tasks([self._reading])
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._client.aclose()

    def forget(self) -> None:
        """Begin to count anew."""
        self.counts.clear()
        self.succeeded_s.clear()

    async def _read(self) -> None:
        async for message in self._pubsub.listen():
            if message["type"] == "pmessage":
                self._take(message["data"])

    def _take(self, data: Any) -> None:
        found = _batches.decode(base64.b64decode(_envelopes.decode(data).body))
        for event in found if isinstance(found, list) else [found]:
            self.counts[event.type] += 1
            if event.type == "task-succeeded":
                self.succeeded_s.append(event.timestamp)
