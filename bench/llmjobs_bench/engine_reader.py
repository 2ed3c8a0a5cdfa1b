"""The floor of any relay: reads an engine's streams with aiohttp and throws them away.

A process of its own, as a worker is: ``python -m llmjobs_bench.engine_reader URL STREAMS BODY``
writes ``{"took_s": ..., "cpu_s": ...}``.
"""

import asyncio
import json
import sys
import time

import aiohttp
import uvloop


async def read_all(url: str, streams: int, body: bytes) -> dict[str, float]:
    """Read *streams* answers at once; returns the seconds they took, of the clock and of CPU."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        cpu_s, began_s = time.process_time(), time.perf_counter()
        await asyncio.gather(*(_read(session, url, body) for _ in range(streams)))
        return {"took_s": time.perf_counter() - began_s, "cpu_s": time.process_time() - cpu_s}


async def _read(session: aiohttp.ClientSession, url: str, body: bytes) -> None:
    async with session.post(
        f"{url}/v1/chat/completions",
        data=body,
        headers={"content-type": "application/json"},
        timeout=aiohttp.ClientTimeout(),
    ) as response:
        async for _ in response.content.iter_any():
            pass


def main() -> None:
    """Read what the arguments say."""
    url, streams, body = sys.argv[1:]
    print(json.dumps(uvloop.run(read_all(url, int(streams), body.encode()))))


if __name__ == "__main__":
    main()
