"""Reading what happens as it happens: one blocking call for everything a process watches.

A watcher of one job replays that job's own stream first and then follows here; the event ids are
the same in both, so nothing is lost or repeated at the seam.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis.asyncio

from llmjobs_core.errors import StoreUnavailable
from llmjobs_core.events import Change, Delivery
from llmjobs_core.store import decode, encode, keys
from llmjobs_core.store.connection import StoreOptions, build_async_client, translated_errors

BLOCK_S = 2.0
"""How long a read waits at the server. A half-open connection is noticed after it and the
connection's timeout, an emptied store after it and VERIFY_S."""
VERIFY_S = 2.0
"""How often a reader makes sure that what it read last is still there."""

_ENTRIES_MAX = 250
"""Of one stream in one read; an entry of a shard has up to 16 events."""
_START = b"0-0"


def build_feed_client(options: StoreOptions) -> redis.asyncio.Redis:
    """Return a client for a reader of its own."""
    return build_async_client(options, block_s=BLOCK_S)


class _Tail:
    """Where a reader is in some streams, and whether the streams still go on from there."""

    def __init__(
        self, client: redis.asyncio.Redis, streams: Iterable[str], clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._last: dict[str, bytes] = dict.fromkeys(streams, _START)
        self._clock = clock
        self._verified_s = clock()

    async def start(self) -> None:
        """Go to where the streams end now."""
        with translated_errors():
            pipe = self._client.pipeline(transaction=False)
            for key in self._last:
                pipe.xrevrange(key, count=1)
            replies = await pipe.execute()
        for key, entries in zip(self._last, replies, strict=True):
            self._last[key] = entries[0][0] if entries else _START
        self._verified_s = self._clock()

    async def read(self, block_ms: int) -> list[tuple[bytes, Any]]:
        """Wait for entries and return them in the order of their streams."""
        if self._clock() - self._verified_s >= VERIFY_S:
            await self._verify(self._last)
            self._verified_s = self._clock()
        streams: dict[Any, Any] = dict(self._last)
        with translated_errors():
            reply = await self._client.xread(streams, count=_ENTRIES_MAX, block=block_ms)
        found: list[tuple[bytes, Any]] = []
        behind: dict[str, bytes] = {}
        for key, entries in encode.iterate_streams(reply):
            if len(entries) == _ENTRIES_MAX:
                behind[key] = self._last[key]
            self._last[key] = entries[-1][0]
            found += entries
        # Streams are cut at some thousands of entries, so only who is this far behind can have
        # missed any: not if what was read before them is still there.
        await self._verify(behind)
        return found

    async def _verify(self, last_read: dict[str, bytes]) -> None:
        """Raise StoreUnavailable unless each stream still has its entry of *last_read*.

        The store may have been emptied, or have gone back in time. Then streams begin anew, maybe
        with smaller ids (the clock of another server), and a read after the old ones might wait
        for ever.
        """
        known = [(key, last) for key, last in last_read.items() if last != _START]
        if not known:
            return
        with translated_errors():
            pipe = self._client.pipeline(transaction=False)
            for key, last in known:
                pipe.xrange(key, min=last, max=last, count=1)
            replies = await pipe.execute()
        if not all(replies):
            raise StoreUnavailable("the store's streams do not go on from what was read")


class ShardReader:
    """Reads the live events of all jobs, for one process, on a client of its own."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        prefix: str = "llmjobs:",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*client* is of :func:`build_feed_client`."""
        self._tail = _Tail(client, keys.shards(prefix), clock)

    async def start(self) -> None:
        """Note where the streams end now; what comes after will be read.

        Raises StoreUnavailable. Call it before replaying any job's own stream, and again after
        ``read`` has failed.
        """
        await self._tail.start()

    async def read(self, *, block_ms: int = int(BLOCK_S * 1000)) -> Sequence[Delivery]:
        """Wait for events and return them; empty after *block_ms* without any.

        Raises StoreUnavailable or UnreadableEntry: then events may have been missed, so start again
        and replay.
        """
        entries = await self._tail.read(block_ms)
        return [one for _, fields in entries for one in decode.parse_deliveries(fields)]


class ChangeReader:
    """Reads which Kubernetes-owned jobs changed, for the operator, on a client of its own."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        prefix: str = "llmjobs:",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*client* is of :func:`build_feed_client`."""
        self._tail = _Tail(client, [keys.changes(prefix)], clock)

    async def start(self) -> None:
        """Note where the stream ends now; then read every job's record once, and follow."""
        await self._tail.start()

    async def read(self, *, block_ms: int = int(BLOCK_S * 1000)) -> Sequence[Change]:
        """Wait for changes and return them; empty after *block_ms* without any.

        Raises StoreUnavailable, also where the store was emptied: then start again and look at
        every job.
        """
        return [decode.parse_change(entry_id, f) for entry_id, f in await self._tail.read(block_ms)]
