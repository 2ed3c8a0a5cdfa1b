"""A scripted OpenAI-compatible engine, for tests: streams in vLLM's shape, fails as told.

In a test's own loop: ``async with ScriptedEngine() as engine``. As a process of its own:
``python -m llmjobs_testing.engine --port 0`` writes one JSON line with its URL.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
from aiohttp import web

from llmjobs_testing.engine_generate import Generation, Step, build_generation
from llmjobs_testing.engine_journal import Journal
from llmjobs_testing.engine_script import Script, Seen, build_script
from llmjobs_testing.vllm_page import VllmPage

Kind = Literal["vllm", "llamacpp", "external"]
MODEL = "scripted"
MAX_MODEL_LEN = 100_000


class ScriptedEngine:
    """The server, its switches and its memory of every request."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        kind: Kind = "vllm",
        default: Script | None = None,
        healthy: bool = True,
        api_key: str = "",
        journal: Journal | None = None,
    ) -> None:
        self.default = default or Script()
        self.healthy = healthy
        self.kind: Kind = kind
        self.api_key = api_key
        self.seen: list[Seen] = []
        self._journal = journal
        self._page = VllmPage()
        self.url = ""
        self._host = host
        self._port = port
        self._faults: Counter[str] = Counter()
        self._resumed = asyncio.Event()
        self._stalled = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._generate)
        app.router.add_post("/v1/completions", self._generate)
        app.router.add_post("/v1/embeddings", self._embed)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/stats", self._stats)
        app.router.add_post("/control", self._control)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://{self._host}:{self._port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut every connection and stop."""
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def open_streams(self) -> int:
        """Requests that have not ended."""
        return sum(seen.closed_s is None for seen in self.seen)

    @property
    def aborted(self) -> list[Seen]:
        """Requests that the client closed before their end."""
        return [seen for seen in self.seen if seen.outcome == "aborted"]

    @property
    def stalled_streams(self) -> int:
        """Requests that wait for `resume`."""
        return self._stalled

    def resume(self) -> None:
        """Let stalled streams go on; one that is not there yet will wait for the next call."""
        self._resumed.set()
        self._resumed = asyncio.Event()

    # -- answering ----------------------------------------------------------------------------

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        seen = self._note(request.path, body)
        try:
            script = build_script(self.default, seen.model, body)
            if script.status and self._is_faulty(script):
                seen.close("failed")
                return _error(script.status, "scripted refusal", script.retry_after)
            generation = build_generation(request.path, body, script, kind=self.kind)
            seen.start = generation.start
            if self._journal is not None:
                self._journal.write(seen)
            return await self._answer(request, seen, script, generation)
        except (ValueError, TypeError) as error:  # msgspec's and the scripts' own
            seen.close("failed")
            return _error(400, str(error))
        except (asyncio.CancelledError, ConnectionError):
            seen.close("aborted")
            raise

    async def _answer(
        self, request: web.Request, seen: Seen, script: Script, generation: Generation
    ) -> web.StreamResponse:
        if not generation.stream:
            return await self._answer_whole(seen, script, generation)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for chunk in generation.build_head():
            await _send(response, chunk)
        async for step in self._steps(seen, script, generation):
            if step.fault == "disconnect" and request.transport is not None:
                seen.close("failed")
                request.transport.abort()
                return response
            if step.fault == "fail":
                seen.close("failed")
                await _send(response, {"error": {"message": "scripted failure", "code": 500}})
                break
            for chunk in generation.build_chunks(step):
                await _send(response, chunk)
        if seen.closed_s is None:
            for chunk in generation.build_tail():
                await _send(response, chunk)
        await response.write(b"data: [DONE]\n\n")
        seen.close("done")
        return response

    async def _answer_whole(
        self, seen: Seen, script: Script, generation: Generation
    ) -> web.Response:
        steps = [step async for step in self._steps(seen, script, generation)]
        if steps and steps[-1].fault:
            seen.close("failed")
            return _error(500, "scripted failure")
        seen.close("done")
        return _json(generation.build_whole(steps))

    async def _steps(
        self, seen: Seen, script: Script, generation: Generation
    ) -> AsyncIterator[Step]:
        await asyncio.sleep(script.delay_s)
        started_s = time.monotonic()
        for step in generation.steps():
            if step.index == script.stall_at and self._is_faulty(script):
                await self._stall()
            if step.index == script.die_at and self._is_faulty(script):
                os.kill(os.getpid(), signal.SIGKILL)
            if step.index in {script.fail_at, script.disconnect_at} and self._is_faulty(script):
                yield Step(step.index, "", fault=_fault(script, step.index))
                return
            if script.rate:
                due_s = started_s + (step.index - generation.start + 1) / script.rate
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            seen.sent += 1
            yield step

    async def _stall(self) -> None:
        self._stalled += 1
        try:
            await self._resumed.wait()
        finally:
            self._stalled -= 1

    def _is_faulty(self, script: Script) -> bool:
        self._faults[script.key] += 1
        return self._faults[script.key] <= script.times

    async def _embed(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        seen = self._note(request.path, body)
        script = build_script(self.default, seen.model, body)
        await asyncio.sleep(script.delay_s)
        if script.status and self._is_faulty(script):
            seen.close("failed")
            return _error(script.status, "scripted refusal", script.retry_after)
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        count = sum(len(str(item).split()) for item in inputs)
        seen.close("done")
        return _json(
            {
                "object": "list",
                "model": seen.model,
                "data": [
                    {"object": "embedding", "index": i, "embedding": [len(str(item)), 0.5]}
                    for i, item in enumerate(inputs)
                ],
                "usage": {"prompt_tokens": count, "total_tokens": count},
            }
        )

    async def _models(self, _: web.Request) -> web.Response:
        model: dict[str, Any] = {"id": MODEL, "object": "model", "owned_by": self.kind}
        if self.kind == "vllm":
            model["max_model_len"] = MAX_MODEL_LEN
        return _json({"object": "list", "data": [model]})

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        """What a real vLLM served once: names and labels are its own, figures are not ours."""
        return web.Response(text=self._page.read())

    async def _stats(self, _: web.Request) -> web.Response:
        requests = [seen.summary() for seen in self.seen]
        return _json({"open": self.open_streams, "requests": requests})

    async def _control(self, request: web.Request) -> web.Response:
        """Change ``healthy`` and ``default`` of an engine in another process; ``resume``."""
        wish = await request.json()
        self.healthy = wish.get("healthy", self.healthy)
        if "default" in wish:
            self.default = msgspec.convert(wish["default"], Script)
        if wish.get("resume"):
            self.resume()
        return _json({})

    def _note(self, path: str, body: dict[str, Any]) -> Seen:
        seen = Seen(path, str(body.get("model", "")), body)
        if self._journal is not None:
            seen.on_close = self._journal.write
        self.seen.append(seen)
        return seen

    async def _body(self, request: web.Request) -> dict[str, Any]:
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            raise web.HTTPUnauthorized
        body: dict[str, Any] = msgspec.json.decode(await request.read())
        return body


def _fault(script: Script, index: int) -> str:
    return "disconnect" if index == script.disconnect_at else "fail"


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _error(status: int, message: str, retry_after: str = "") -> web.Response:
    error = {"error": {"message": message, "type": "scripted_error", "code": status}}
    headers = {"Retry-After": retry_after} if retry_after else {}
    return web.Response(
        status=status,
        headers=headers,
        body=msgspec.json.encode(error),
        content_type="application/json",
    )


async def _send(response: web.StreamResponse, chunk: object) -> None:
    await response.write(b"data: " + msgspec.json.encode(chunk) + b"\n\n")


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    default = msgspec.json.decode(options.script, type=Script)
    journal = Journal(options.journal) if options.journal else None
    engine = ScriptedEngine(
        host=options.host,
        port=options.port,
        kind=options.kind,
        default=default,
        journal=journal,
    )
    engine.healthy = not options.unhealthy
    async with engine:
        sys.stdout.write(f'{{"url": "{engine.url}"}}\n')
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """Run the engine until SIGTERM."""
    parser = argparse.ArgumentParser(description="Scripted OpenAI-compatible engine")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--kind", choices=["vllm", "llamacpp", "external"], default="vllm")
    parser.add_argument("--script", default="{}", help="default script as JSON")
    parser.add_argument("--journal", type=Path, help="write every request's open and close here")
    parser.add_argument("--unhealthy", action="store_true")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
