"""Watchers for next to no CPU: what arrives is kept with its time, and looked at after the last.

A process of its own: ``python -m llmjobs_bench.sse_reader PORT`` reads a line with a JSON list of
job ids, opens one event stream for each, writes a line when all are open, and at their ends writes
one `Watched` a stream, as a JSON list.
"""

import asyncio
import hashlib
import json
import re
import sys
import time
from typing import cast

import msgspec
import uvloop

from llmjobs_api.framing import parse_event_id

_STAMP = re.compile(r"\d{16}")
_CONNECTING_MAX = 16
"""Streams that are opened at a time."""


class Watched(msgspec.Struct):
    """What one watcher was told."""

    job_id: str
    text_hash: str
    """SHA-256 of all text, in hex."""
    tokens: int
    """As the last event with text told."""
    events: int
    is_in_order: bool
    """Every id and every count of tokens was above the one before."""
    end: str
    """The state that ``done`` told; empty without one."""
    delays_us: list[int]
    """From each stamp in the text to its arrival."""


class _Data(msgspec.Struct):
    text: str = ""
    tokens: int = 0
    state: str = ""


class Watcher(asyncio.Protocol):
    """One event stream, kept as it comes."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._arrived: list[tuple[int, bytes]] = []
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        request = (
            f"GET /jobs/{self._job_id}/events HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"
        )
        cast("asyncio.Transport", transport).write(request.encode())

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self._arrived.append((time.monotonic_ns() // 1000, data))
        if len(self._arrived) == 1:
            self.opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the others know."""
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("closed before it began"))
        self.ended.set_result(None)

    def summarize(self) -> Watched:
        """Return what came; raises ValueError where it is no event stream."""
        hashed = hashlib.sha256()
        watched = Watched(self._job_id, "", 0, 0, True, "", [])
        last = (0, 0)
        for at_us, name, event_id, data in self._parse_events():
            order = parse_event_id(event_id)
            watched.events += 1
            watched.is_in_order &= order > last
            last = order
            if name == "done":
                watched.end = data.state
            elif name == "delta":
                hashed.update(data.text.encode())
                watched.is_in_order &= data.tokens > watched.tokens
                watched.tokens = data.tokens
                watched.delays_us += [at_us - int(stamp) for stamp in _STAMP.findall(data.text)]
        watched.text_hash = hashed.hexdigest()
        return watched

    def _parse_events(self) -> list[tuple[int, str, str, _Data]]:
        """Return the events with the time at which each was whole."""
        decoder = msgspec.json.Decoder(_Data)
        found = []
        head, blank, buffer = self._arrived[0][1].partition(b"\r\n\r\n")
        if not blank or b" 200 " not in head.split(b"\r\n")[0]:
            raise ValueError(f"no event stream: {head[:200]!r}")
        plain = b""
        for at_us, data in [(self._arrived[0][0], b""), *self._arrived[1:]]:
            buffer += data
            while (size_end := buffer.find(b"\r\n")) >= 0:
                end = size_end + 2 + int(buffer[:size_end], 16)
                if len(buffer) < end + 2:
                    break
                plain += buffer[size_end + 2 : end]
                buffer = buffer[end + 2 :]
            *frames, plain = plain.split(b"\n\n")
            for frame in frames:
                if frame.startswith(b"id: "):
                    event_id, name, text = (line.split(b": ", 1)[1] for line in frame.split(b"\n"))
                    found.append((at_us, name.decode(), event_id.decode(), decoder.decode(text)))
        return found


async def watch_all(port: int, ids: list[str]) -> list[Watched]:
    """Watch a job with each of *ids* (which may repeat) to its end."""
    loop = asyncio.get_running_loop()
    opening = asyncio.Semaphore(_CONNECTING_MAX)

    async def open_one(job_id: str) -> Watcher:
        async with opening:
            watcher = Watcher(job_id)
            await loop.create_connection(lambda: watcher, "127.0.0.1", port)
            await watcher.opened
            return watcher

    watchers = await asyncio.gather(*(open_one(job_id) for job_id in ids))
    print("ready", flush=True)
    await asyncio.gather(*(watcher.ended for watcher in watchers))
    return [watcher.summarize() for watcher in watchers]


def main() -> None:
    """Watch what standard input says."""
    ids = json.loads(sys.stdin.readline())
    watched = uvloop.run(watch_all(int(sys.argv[1]), ids))
    sys.stdout.buffer.write(msgspec.json.encode(watched))


if __name__ == "__main__":
    main()
