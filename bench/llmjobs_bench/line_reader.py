"""What a machine reaches at all: answers read with aiohttp, so many at a time, and thrown away.

A process of its own: ``python -m llmjobs_bench.line_reader URL AT_A_TIME COUNT BODY`` writes
``{"took_s": ...}``.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator

import aiohttp
import uvloop


async def read_all(url: str, at_a_time: int, count: int, body: bytes) -> dict[str, float]:
    """Read *count* answers; returns the seconds that they took."""
    left = iter(range(count))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        began_s = time.perf_counter()
        await asyncio.gather(*(_read(session, url, body, left) for _ in range(at_a_time)))
        return {"took_s": time.perf_counter() - began_s}


async def _read(session: aiohttp.ClientSession, url: str, body: bytes, left: Iterator[int]) -> None:
    for _ in left:
        async with session.post(
            f"{url}/v1/chat/completions",
            data=body,
            headers={"content-type": "application/json"},
        ) as response:
            await response.read()


def main() -> None:
    """Read what the arguments say."""
    url, at_a_time, count, body = sys.argv[1:]
    print(json.dumps(uvloop.run(read_all(url, int(at_a_time), int(count), body.encode()))))


if __name__ == "__main__":
    main()
