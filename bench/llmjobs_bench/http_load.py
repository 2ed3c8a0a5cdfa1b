"""HTTP requests as fast as a server takes them, for next to no CPU: the same bytes again and again.

A process of its own: ``python -m llmjobs_bench.http_load PORT PATH CONNECTIONS SECONDS STATUS
BODY`` keeps CONNECTIONS connections busy for so long, and writes a `Load` as JSON. Any answer but
STATUS ends it with an error: a server that refuses is not fast.
"""

import asyncio
import json
import re
import sys
import time
from typing import Any, TypedDict, cast

import uvloop

from llmjobs_bench.figures import percentile

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Load(TypedDict):
    """What came of it."""

    answers: int
    took_s: float
    cpu_s: float
    """Of this client."""
    p50_ms: float
    p99_ms: float
    last: list[str]
    """The last answer of each connection."""


def build_request(path: str, body: bytes, accept: str = "*/*") -> bytes:
    """Return a request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"accept: {accept}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class BadAnswer(Exception):
    """A server answered something else than was asked for."""


class Connection(asyncio.Protocol):
    """One kept-alive connection that asks again as soon as it has its answer."""

    def __init__(self, request: bytes, status: bytes, until_s: float) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.times_s: list[float] = []
        self.last = b""
        self._request = request
        self._status = b"HTTP/1.1 " + status
        self._until_s = until_s
        self._received = b""
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take an answer, and ask again while there is time."""
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        found = _LENGTH.search(head)
        if len(body) < (int(found[1]) if found else 0):
            return
        now_s = time.perf_counter()
        self.times_s.append(now_s - self._sent_s)
        self._received, self.last = b"", body
        if not head.startswith(self._status):
            self._end(BadAnswer(f"{head[:80]!r} {body[:200]!r}"))
        elif now_s < self._until_s:
            self._ask()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so, if it was not the end."""
        self._end(BadAnswer(f"the connection was closed: {exc}"))

    def _end(self, error: Exception | None) -> None:
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)
            self._transport.close()


async def load(port: int, request: bytes, connections: int, seconds: float, status: str) -> Load:
    """Ask for *seconds*; returns when every answer has come. Raises BadAnswer."""
    loop = asyncio.get_running_loop()
    cpu_s, began_s = time.process_time(), time.perf_counter()

    def build() -> Connection:
        return Connection(request, status.encode(), began_s + seconds)

    made = await asyncio.gather(
        *(loop.create_connection(build, "127.0.0.1", port) for _ in range(connections))
    )
    clients = [client for _, client in made]
    await asyncio.gather(*(client.ended for client in clients))
    took_s = time.perf_counter() - began_s
    times_ms = [1000 * time_s for client in clients for time_s in client.times_s]
    return Load(
        answers=len(times_ms),
        took_s=took_s,
        cpu_s=time.process_time() - cpu_s,
        p50_ms=percentile(times_ms, 50),
        p99_ms=percentile(times_ms, 99),
        last=[client.last.decode() for client in clients],
    )


def main() -> None:
    """Ask as the arguments say."""
    port, path, connections, seconds, status, body = sys.argv[1:]
    request = build_request(path, body.encode())
    outcome: Any = uvloop.run(load(int(port), request, int(connections), float(seconds), status))
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
