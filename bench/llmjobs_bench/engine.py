"""The load engine: vLLM's streams, one token a chunk, for next to no CPU a token.

What it says is the scripted engine's text, so every token can be checked; but each answer is
written down once and then sent as it is, without a framework. It reads ``script`` of a body
(``tokens``, ``rate``, ``delay_s``), and ``bench``: ``{"stamp": true}`` puts the time of sending (µs
of the monotonic clock, 16 digits) in place of each token's text. With ``--budget`` all streams
share so many tokens a second, as in an engine that is saturated, and ``GET /busy`` tells how many
seconds streams were open for, all together. Must not fail, stall or judge: that is the scripted
engine's.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import msgspec
import uvloop

from llmjobs_testing.engine_generate import Generation, build_generation
from llmjobs_testing.engine_script import Script, build_script

REQUESTS = "/requests"
"""Tells how many requests were taken so far."""
_TICK_S = 0.01
"""How often paced streams are written to: an engine's step."""
_LEARN = 0.01
"""How much of a timer's lateness the next ones make up for."""
_LATE_MAX_S = 0.002
_SLICE = 16
"""Chunks in one write of a stream that is not paced: the fewest that leave the reader to be what
takes the time. With one, 195,000 tokens/s and both sides at their limit; with 4, 16 and 256,
680,000 to 850,000 and the reader alone at its limit: its sockets hold as much, whatever a write
was."""
_PLACE = b"@" * 16
_MODEL = {"id": "scripted", "object": "model", "owned_by": "vllm", "max_model_len": 1_000_000}
_MODELS = msgspec.json.encode({"object": "list", "data": [_MODEL]})
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's answer, ready to be sent."""

    head: bytes
    chunks: Sequence[bytes]
    """One a token, each an HTTP chunk of its own, as uvicorn sends vLLM's."""
    tail: bytes
    script: Script
    is_stamped: bool


@lru_cache(maxsize=4096)
def build_answer(path: str, raw: bytes) -> Answer:
    """Return the answer to a body; the same body has the same answer."""
    body: dict[str, Any] = msgspec.json.decode(raw)
    script = build_script(Script(), str(body.get("model", "")), body)
    is_stamped = bool(body.get("bench", {}).get("stamp"))
    generation = build_generation(path, body, script, kind="vllm")
    steps = list(generation.steps())
    if not generation.stream:
        whole = msgspec.json.encode(generation.build_whole(steps))
        return Answer(_build_response(200, whole), (), b"", script, is_stamped)
    head = _STREAM_HEAD + b"".join(_frame(chunk) for chunk in generation.build_head())
    generation.made = 0
    chunks = []
    for step in steps:
        generation.made += 1
        chunks.append(b"".join(_frame(c) for c in _build_chunks(generation, step, is_stamped)))
    tail = b"".join(_frame(chunk) for chunk in generation.build_tail())
    return Answer(head, chunks, tail + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", script, is_stamped)


def _build_chunks(generation: Generation, step: Any, is_stamped: bool) -> list[dict[str, Any]]:
    chunks = generation.build_chunks(step)
    if is_stamped and step.finish_reason is None:
        for chunk in chunks:
            chunk["choices"][0]["delta"] = {"content": _PLACE.decode()}
    return chunks


def _frame(chunk: dict[str, Any]) -> bytes:
    event = b"data: " + msgspec.json.encode(chunk) + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _build_response(status: int, body: bytes) -> bytes:
    return (b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b") % (
        status,
        len(body),
        body,
    )


class Pacer:
    """Writes to all paced streams, every tick."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        """Tokens a second that all streams share; 0 where each has its own rate."""
        self._streams: dict[Stream, None] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._last_s = 0.0
        self._left = 0.0
        self._busy_s = 0.0
        self._counted_s = 0.0

    @property
    def busy_s(self) -> float:
        """Seconds that paced streams were open for, those of all of them added up."""
        self._count()
        return self._busy_s

    def _count(self) -> None:
        now_s = time.monotonic()
        self._busy_s += len(self._streams) * (now_s - self._counted_s)
        self._counted_s = now_s

    @property
    def is_shared(self) -> bool:
        """Whether every stream is paced, by what is left for it."""
        return self._budget > 0

    def add(self, stream: "Stream") -> None:
        """Begin to write to *stream*."""
        self._count()
        self._streams[stream] = None
        if self._tick is None:
            self._last_s = time.monotonic()
            self._tick = asyncio.get_running_loop().call_later(_TICK_S, self._write)

    def remove(self, stream: "Stream") -> None:
        """Write to *stream* no more."""
        self._count()
        self._streams.pop(stream, None)

    def _write(self) -> None:
        now_s = time.monotonic()
        streams = list(self._streams)
        if self._budget:
            self._share(streams, now_s)
        else:
            for stream in streams:
                stream.send_until(int((now_s - stream.began_s) * stream.answer.script.rate))
        self._last_s = now_s
        self._tick = None
        if self._streams:
            self._tick = asyncio.get_running_loop().call_later(_TICK_S, self._write)

    def _share(self, streams: list["Stream"], now_s: float) -> None:
        if not streams:
            return  # the last client has left since
        self._left += (now_s - self._last_s) * self._budget
        each, more = divmod(int(self._left), len(streams))
        self._left -= int(self._left)
        for place, stream in enumerate(streams):
            stream.send_until(stream.sent + each + (place < more))
        # Whoever had one more goes to the end, so that nobody always has.
        for stream in streams[:more]:
            if self._streams.pop(stream, 0) is None:
                self._streams[stream] = None


class Stream:
    """One answer on its way."""

    def __init__(self, connection: "Connection", answer: Answer, pacer: Pacer) -> None:
        self.answer = answer
        self.sent = 0
        self.began_s = 0.0
        self._connection = connection
        self._pacer = pacer
        self._is_pumping = False

    def begin(self) -> None:
        """Send what comes before the first token, and begin with the tokens."""
        self.began_s = time.monotonic()
        self._connection.write(self.answer.head)
        if not self.answer.tail:
            self._connection.end_stream()
        elif self._pacer.is_shared or self.answer.script.rate:
            self._pacer.add(self)
        else:
            self._is_pumping = True
            self.pump()

    def pump(self) -> None:
        """Send as much as the other side takes."""
        while self._is_pumping and self._connection.is_writable:
            self.send_until(self.sent + _SLICE)

    def send_until(self, count: int) -> None:
        """Have *count* tokens sent, and the end behind the last one."""
        total = len(self.answer.chunks)
        upto = min(count, total)
        if upto > self.sent:
            data = b"".join(self.answer.chunks[self.sent : upto])
            if self.answer.is_stamped:
                data = data.replace(_PLACE, b"%016d" % (time.monotonic_ns() // 1000))
            self.sent = upto
            self._connection.write(data)
        if upto == total:
            self.close()
            self._connection.write(self.answer.tail)
            self._connection.end_stream()

    def close(self) -> None:
        """Send nothing more."""
        self._is_pumping = False
        self._pacer.remove(self)


class Clerk:
    """Counts the requests, and has answers begin after their delay, on the mean exactly then.

    The loop's timers are late by about a millisecond; what they were late of late is taken off.
    """

    def __init__(self) -> None:
        self.requests = 0
        """How many were taken so far."""
        self._late_s = 0.0

    def begin_after(self, delay_s: float, begin: Callable[[], None]) -> None:
        """Call *begin* after *delay_s*."""
        due_s = time.monotonic() + delay_s
        loop = asyncio.get_running_loop()
        loop.call_later(max(0.0, delay_s - self._late_s), self._begin, due_s, begin)

    def _begin(self, due_s: float, begin: Callable[[], None]) -> None:
        late_s = self._late_s + (time.monotonic() - due_s) * _LEARN
        self._late_s = min(max(0.0, late_s), _LATE_MAX_S)
        begin()


class Connection(asyncio.Protocol):
    """One kept-alive connection, one request at a time."""

    def __init__(self, pacer: Pacer, clerk: Clerk) -> None:
        self._pacer = pacer
        self._clerk = clerk
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._stream: Stream | None = None
        self.is_writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not one by its class

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        """Stop the stream whose client has left."""
        self._transport = None
        if self._stream is not None:
            self._stream.close()

    def pause_writing(self) -> None:
        """Wait until the client has read."""
        self.is_writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self.is_writable = True
        if self._stream is not None:
            self._stream.pump()

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole."""
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        length = _parse_length(head)
        if len(rest) < length:
            return
        self._received = rest[length:]
        path = head.split(b" ", 2)[1].decode()
        self._answer(path, rest[:length])

    def _answer(self, path: str, body: bytes) -> None:
        if path == "/v1/models":
            self.write(_build_response(200, _MODELS))
        elif path == "/health":
            self.write(_build_response(200, b""))
        elif path == "/busy":
            self.write(_build_response(200, msgspec.json.encode({"busy_s": self._pacer.busy_s})))
        elif path == REQUESTS:
            self.write(_build_response(200, b"%d" % self._clerk.requests))
        else:
            self._clerk.requests += 1
            answer = build_answer(path, body)
            self._stream = Stream(self, answer, self._pacer)
            if answer.script.delay_s:
                self._clerk.begin_after(answer.script.delay_s, self._stream.begin)
            else:
                self._stream.begin()

    def write(self, data: bytes) -> None:
        """Send, unless the client has left."""
        if self._transport is not None:
            self._transport.write(data)

    def end_stream(self) -> None:
        """Take the next request."""
        self._stream = None


def _parse_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


async def serve(port: int, budget: float) -> None:
    """Listen on loopback until killed."""
    pacer, clerk = Pacer(budget), Clerk()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(pacer, clerk), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    """Run the engine."""
    parser = argparse.ArgumentParser(description="Load engine")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--budget", type=float, default=0.0, help="tokens/s of all streams")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.budget))


if __name__ == "__main__":
    main()
