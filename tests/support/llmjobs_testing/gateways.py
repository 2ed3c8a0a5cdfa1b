"""Real gateways on loopback, and a client that reads their streams."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from pydantic import SecretStr

from llmjobs_api.app import create_app
from llmjobs_api.ports import build_ports
from llmjobs_api.server import Server, build_server
from llmjobs_api.settings import GatewaySettings

CHAT = {"model": "m", "messages": [{"role": "user", "content": "tell me"}]}


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One server-sent event as a client sees it."""

    id: str
    type: str
    data: dict[str, Any]


class Client:
    """Talks to one gateway."""

    def __init__(self, base: str, headers: dict[str, str] | None = None) -> None:
        self.base = base
        self.http = aiohttp.ClientSession(base, headers=headers)

    async def call(
        self, method: str, path: str, *, json: Any = None, **options: Any
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, body (decoded where it is JSON) and headers in lower case."""
        if json is not None:
            options["data"] = msgspec.json.encode(json)
            options["headers"] = {"Content-Type": "application/json"} | options.get("headers", {})
        async with self.http.request(method, path, **options) as response:
            data = await response.read()
            headers = {name.lower(): value for name, value in response.headers.items()}
            is_json = "json" in headers.get("content-type", "").replace("jsonl", "")
            return response.status, msgspec.json.decode(data) if is_json else data, headers

    async def submit(self, **job: Any) -> str:
        """Submit one job; returns its id."""
        status, body, _ = await self.call("POST", "/jobs", json={"body": CHAT} | job)
        assert status == 202, body
        return str(body["id"])

    @asynccontextmanager
    async def stream(
        self, path: str, *, last_id: str = ""
    ) -> AsyncIterator[AsyncIterator[SseEvent]]:
        """Open an event stream; the iterator ends where the stream does."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        timeout = aiohttp.ClientTimeout(total=None)
        async with self.http.get(path, headers=headers, timeout=timeout) as response:
            assert response.status == 200, await response.text()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield read_sse(response)

    @asynccontextmanager
    async def follow(self, *, key: str = "") -> AsyncIterator[tuple[str, AsyncIterator[SseEvent]]]:
        """Submit one job to be answered by its events; gives its id and the events."""
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if key:
            headers["Idempotency-Key"] = key
        data = msgspec.json.encode({"body": CHAT})
        timeout = aiohttp.ClientTimeout(total=None)
        async with self.http.post("/jobs", data=data, headers=headers, timeout=timeout) as response:
            assert response.status == 200, await response.text()
            yield response.headers["Location"].removeprefix("/jobs/"), read_sse(response)

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()


async def read_sse(response: aiohttp.ClientResponse) -> AsyncIterator[SseEvent]:
    """Yield the events of a stream; comments and hints are passed over."""
    fields: dict[str, str] = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            data = msgspec.json.decode(fields["data"])
            yield SseEvent(fields["id"], fields["event"], data)
            fields = {}
        else:
            fields = {}


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that serves."""

    client: Client
    server: Server
    task: asyncio.Task[None]

    async def stop(self) -> None:
        """Shut it down as SIGTERM does, and return when it has ended."""
        self.server.should_exit = True
        await self.task


@asynccontextmanager
async def run_gateway(url: str, **changes: Any) -> AsyncIterator[RunningGateway]:
    """Run a gateway on a free port with the settings changed as asked."""
    fields: dict[str, Any] = {
        "redis_url": SecretStr(url),
        "default_namespace": "team-a",
        "reap_interval_s": 0.3,
        "shutdown_grace_s": 5.0,
    }
    settings = GatewaySettings(**(fields | changes))
    app = create_app(settings, build_ports(settings))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = build_server(app, host="127.0.0.1", port=port, grace_s=settings.shutdown_grace_s)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        assert not task.done(), "the gateway did not start"
        await asyncio.sleep(0.01)
    client = Client(f"http://127.0.0.1:{port}")
    try:
        yield RunningGateway(client, server, task)
    finally:
        await client.close()
        server.should_exit = True
        await task
        listener.close()
