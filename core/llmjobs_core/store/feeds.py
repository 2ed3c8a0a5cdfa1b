"""Reading what happens as it happens: one blocking call for everything a process watches.

A watcher of one job replays that job's own stream first and then follows here; the event ids are
the same in both, so nothing is lost or repeated at the seam.
"""

from collections.abc import Sequence
from typing import Any

import redis.asyncio

from llmjobs_core.events import Change, Delivery
from llmjobs_core.store import decode, encode, keys
from llmjobs_core.store.connection import translated_errors

BLOCK_MS = 5_000


class ShardReader:
    """Reads the live events of all jobs, for one process; the client must be a blocking one."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = "llmjobs:") -> None:
        self._client = client
        self._streams = dict.fromkeys(keys.shards(prefix), b"")

    async def start(self) -> None:
        """Note where the streams end now; what comes after will be read.

        Raises StoreUnavailable. Call it before replaying any job's own stream, and again after
        ``read`` has failed or reported a gap.
        """
        with translated_errors():
            pipe = self._client.pipeline(transaction=False)
            for key in self._streams:
                pipe.xrevrange(key, count=1)
            replies = await pipe.execute()
        for key, entries in zip(self._streams, replies, strict=True):
            self._streams[key] = entries[0][0] if entries else b"0-0"

    async def read(self, *, block_ms: int = BLOCK_MS) -> Sequence[Delivery]:
        """Wait for events and return them; empty after *block_ms* without any.

        Raises StoreUnavailable: then events may have been missed, so start again and replay.
        """
        streams: dict[Any, Any] = dict(self._streams)
        with translated_errors():
            reply = await self._client.xread(streams, count=1000, block=block_ms)
        deliveries: list[Delivery] = []
        for key, entries in encode.iterate_streams(reply):
            self._streams[key] = entries[-1][0]
            deliveries.extend(decode.parse_delivery(fields) for _, fields in entries)
        return deliveries


class ChangeReader:
    """Reads which Kubernetes-owned jobs changed, for the operator."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = "llmjobs:") -> None:
        self._client = client
        self._key = keys.changes(prefix)
        self._last: Any = b"0-0"

    async def start(self) -> None:
        """Note where the stream ends now; then read every job's record once, and follow."""
        with translated_errors():
            entries = await self._client.xrevrange(self._key, count=1)
        self._last = entries[0][0] if entries else b"0-0"

    async def read(self, *, block_ms: int = BLOCK_MS) -> Sequence[Change]:
        """Wait for changes and return them; empty after *block_ms* without any."""
        streams: dict[Any, Any] = {self._key: self._last}
        with translated_errors():
            reply = await self._client.xread(streams, count=1000, block=block_ms)
        changes: list[Change] = []
        for _, entries in encode.iterate_streams(reply):
            self._last = entries[-1][0]
            changes.extend(decode.parse_change(entry_id, fields) for entry_id, fields in entries)
        return changes
