"""The reference of a queue: an engine's own client, which keeps so many requests in flight.

A process of its own, as a worker is. ``python -m llmjobs_bench.direct_client URL IN_FLIGHT FILE``
sends the bodies in FILE, one a line, in their order, and writes one JSON object: ``took_s`` and
``cpu_s`` from the first request to the last byte, and ``answers`` (``text``, ``tokens``). While it
measures it only reads; what it read is parsed afterwards.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

_PATH = "/v1/chat/completions"
_EVENT = b"data: "


async def send_all(url: str, in_flight: int, bodies: Sequence[bytes]) -> dict[str, Any]:
    """Send *bodies*, never more than *in_flight* at once; returns what the module says."""
    received = [b""] * len(bodies)
    waiting = iter(enumerate(bodies))
    # llama.cpp closes a connection after a stream, but says that it keeps it.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout()
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as session:
        cpu_s, began_s = time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as senders:
            for _ in range(in_flight):
                senders.create_task(_send_some(session, waiting, received))
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    answers = [parse_answer(one) for one in received]
    return {"took_s": took_s, "cpu_s": cpu_s, "answers": answers}


async def _send_some(
    session: aiohttp.ClientSession, waiting: Iterator[tuple[int, bytes]], received: list[bytes]
) -> None:
    for place, body in waiting:
        headers = {"content-type": "application/json"}
        async with session.post(_PATH, data=body, headers=headers) as response:
            response.raise_for_status()
            received[place] = await response.read()


def parse_answer(stream: bytes) -> dict[str, Any]:
    """Return the text of a chat's stream, and how many tokens the engine counted."""
    text, tokens = "", 0
    for line in stream.splitlines():
        if not line.startswith(_EVENT) or line.endswith(b"[DONE]"):
            continue
        chunk = json.loads(line.removeprefix(_EVENT))
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
        tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
    return {"text": text, "tokens": tokens}


def main() -> None:
    """Send what the arguments say."""
    url, in_flight, file = sys.argv[1:]
    bodies = Path(file).read_bytes().splitlines()
    print(json.dumps(uvloop.run(send_all(url, int(in_flight), bodies))))


if __name__ == "__main__":
    main()
