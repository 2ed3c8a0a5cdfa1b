"""What HTTP alone costs: FastAPI routes that take the gateway's bodies and do nothing with them.

By the gateway's own server, so with its settings: ``python -m llmjobs_bench.bare_routes PORT``.
"""

import sys

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import Response

from llmjobs_api.schemas import JobRequest
from llmjobs_api.server import build_server

_decoder = msgspec.json.Decoder(JobRequest)
_encoder = msgspec.json.Encoder()
app = FastAPI()


class Taken(msgspec.Struct):
    """What a bare route says."""

    bytes: int


@app.post("/jobs")
async def take_job(request: Request) -> Response:
    """Read one job, and forget it."""
    job = _decoder.decode(await request.body())
    taken = Taken(len(bytes(job.body)) if isinstance(job.body, msgspec.Raw) else 0)
    return Response(_encoder.encode(taken), 202, media_type="application/json")


@app.post("/stream")
async def discard(request: Request) -> Response:
    """Read a body as it comes, and throw it away."""
    size = 0
    async for part in request.stream():
        size += len(part)
    return Response(_encoder.encode(Taken(size)), 202, media_type="application/json")


def main() -> None:
    """Serve on loopback until killed."""
    build_server(app, host="127.0.0.1", port=int(sys.argv[1]), grace_s=1).run()


if __name__ == "__main__":
    main()
