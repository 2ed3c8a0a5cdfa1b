"""The floor of any relay: reads an engine's streams with aiohttp and throws them away.

A process of its own, as a worker is: ``python -m llmjobs_bench.engine_reader URL STREAMS BODY``
writes ``{"took_s": ..., "cpu_s": ...}``, where CPU counts once every stream has begun.
"""

import asyncio
import json
import sys
import time

import aiohttp
import uvloop


async def read_all(url: str, streams: int, body: bytes) -> dict[str, float]:
    """Read *streams* answers at once; returns the seconds they took, of the clock and of CPU."""
    have_begun = asyncio.Barrier(streams)
    cpu_s: list[float] = []

    async def read() -> None:
        async with session.post(
            f"{url}/v1/chat/completions",
            data=body,
            headers={"content-type": "application/json"},
            timeout=aiohttp.ClientTimeout(),
        ) as response:
            await have_begun.wait()
            cpu_s.append(time.process_time())
            async for _ in response.content.iter_any():
                pass

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began_s = time.perf_counter()
        await asyncio.gather(*(read() for _ in range(streams)))
        took_s = time.perf_counter() - began_s
        return {"took_s": took_s, "cpu_s": time.process_time() - cpu_s[0]}


def main() -> None:
    """Read what the arguments say."""
    url, streams, body = sys.argv[1:]
    print(json.dumps(uvloop.run(read_all(url, int(streams), body.encode()))))


if __name__ == "__main__":
    main()
