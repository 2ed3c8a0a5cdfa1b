"""The examples of `llmjobs dev up`: a pool, a job and a batch by kubectl, and a job by HTTP.

Everything is watched by push, as a user's own program would: the gateway's event streams.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from rich.console import Console

from llmjobs_cli.examples_display import ExamplesDisplay
from llmjobs_dev.manifests import find_manifests
from llmjobs_dev.state import StackState

TIMEOUT_S = 600.0
"""Longest time for all examples; they take about half a minute on two cores."""
JOB_NAMES = ("story", "twenty-places")
_FILES = ("pool-llama.yaml", "job.yaml", "batch-inline.yaml")
_HTTP_JOB = {
    "name": "by-http",
    "endpoint": "/v1/completions",
    "body": {
        "model": "gemma-3-270m",
        "prompt": "The sky is blue because",
        "max_tokens": 80,
        "temperature": 0.7,
        "repeat_penalty": 1.2,
        "seed": 7,
    },
}


class ExamplesFailedError(RuntimeError):
    """An example did not complete; the message says why, ``log`` what to read."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


@dataclass(slots=True)
class Example:
    """One example job as its watcher sees it."""

    name: str
    door: str
    job_id: str
    state: str = "Queued"
    message: str = ""
    done: int = 0
    total: int = 1
    text: str = ""


async def run_examples(console: Console, state: StackState) -> None:
    """Apply the examples and show them until all have ended. Raises ExamplesFailedError."""
    runner = _Runner(console, state)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await runner.run()
    except TimeoutError:
        raise runner.failed(f"not done after {TIMEOUT_S:.0f} s") from None
    except (aiohttp.ClientError, ConnectionError) as error:
        log = f"{state.log_dir}/gateway.log"
        raise ExamplesFailedError(f"the gateway does not answer: {error}", log) from error


class _Runner:
    def __init__(self, console: Console, state: StackState) -> None:
        self._console = console
        self._state = state
        self._examples: list[Example] = []

    def failed(self, message: str) -> ExamplesFailedError:
        """Return the error, with what every example is at."""
        at = "; ".join(f"{e.name} is {e.state}: {e.message}" for e in self._examples)
        return ExamplesFailedError(f"{message}. {at}", f"{self._state.log_dir} (llmjobs dev logs)")

    async def run(self) -> None:
        folder = find_manifests() / "examples"
        # A second start shows new work, not the old results.
        await self._kubectl("delete", "llmjob", *JOB_NAMES, "--ignore-not-found", "--timeout=60s")
        files = [arg for name in _FILES for arg in ("-f", str(folder / name))]
        self._console.print(f"[bold]$[/] kubectl apply {' '.join(files)}", soft_wrap=True)
        self._console.print((await self._kubectl("apply", *files)).strip(), style="dim")
        async with aiohttp.ClientSession(self._state.gateway_url) as http:
            self._examples = await self._find_jobs()
            self._examples.append(await self._submit(http))
            await self._watch_all(http)
            for example in self._examples:
                await self._check(http, example)
        self._show_texts()

    async def _watch_all(self, http: aiohttp.ClientSession) -> None:
        with ExamplesDisplay(self._console, self._examples) as display:
            watchers = [
                asyncio.create_task(self._watch(http, example, display))
                for example in self._examples
            ]
            try:
                await asyncio.gather(*watchers)
            finally:
                for watcher in watchers:
                    watcher.cancel()

    async def _find_jobs(self) -> list[Example]:
        names = [f"llmjob/{name}" for name in JOB_NAMES]
        await self._kubectl("wait", "--for=jsonpath={.status.jobId}", *names, "--timeout=60s")
        ids = await self._kubectl(
            "get", *names, "-o", "jsonpath={range .items[*]}{.status.jobId}{'\\n'}{end}"
        )
        return [
            Example(name, "kubectl", job_id)
            for name, job_id in zip(JOB_NAMES, ids.split(), strict=True)
        ]

    async def _submit(self, http: aiohttp.ClientSession) -> Example:
        self._console.print(f"[bold]$[/] curl {self._state.gateway_url}/jobs -d ...")
        async with http.post("/jobs", json=_HTTP_JOB) as response:
            body = await response.json(content_type=None)
            if response.status != 202:
                raise self.failed(f"POST /jobs answered {response.status}: {body}")
        return Example(str(_HTTP_JOB["name"]), "HTTP", body["id"])

    async def _watch(
        self, http: aiohttp.ClientSession, example: Example, display: ExamplesDisplay
    ) -> None:
        refresher = asyncio.create_task(self._explain(http, example, display))
        try:
            await self._follow(http, example, display)
        finally:
            refresher.cancel()
        await self._read(http, example)
        display.update(example)

    async def _follow(
        self, http: aiohttp.ClientSession, example: Example, display: ExamplesDisplay
    ) -> None:
        """Read the job's event stream to its end; goes on after a break."""
        last_id, kind = "", ""
        while True:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
            path = f"/jobs/{example.job_id}/events"
            try:
                async with http.get(path, headers=headers, timeout=timeout) as response:
                    response.raise_for_status()
                    async for raw in response.content:
                        name, _, value = raw.decode().rstrip("\n").partition(": ")
                        if name == "id":
                            last_id = value
                        elif name == "event":
                            kind = value
                        elif name == "data":
                            _apply(example, kind, msgspec.json.decode(value))
                            display.update(example)
                            if kind == "done":
                                return
            except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
                await asyncio.sleep(0.5)

    async def _explain(
        self, http: aiohttp.ClientSession, example: Example, display: ExamplesDisplay
    ) -> None:
        """Keep the words about the job's wait, by long polls that answer when they change."""
        etag = ""
        while True:
            headers = {"If-None-Match": etag} if etag else {}
            wait = {"wait": "5"} if etag else {}
            path = f"/jobs/{example.job_id}"
            async with http.get(path, headers=headers, params=wait) as response:
                if response.status == 200:
                    etag = response.headers["ETag"]
                    _take_view(example, await response.json(content_type=None))
                    display.update(example)
            await asyncio.sleep(0.5)

    async def _read(self, http: aiohttp.ClientSession, example: Example) -> None:
        async with http.get(f"/jobs/{example.job_id}") as response:
            _take_view(example, await response.json(content_type=None))

    async def _check(self, http: aiohttp.ClientSession, example: Example) -> None:
        """Raise unless the example succeeded with text in every answer."""
        if example.state != "Succeeded":
            raise self.failed(f"{example.name} ended as {example.state}")
        if example.total == 1:
            async with http.get(f"/jobs/{example.job_id}/text") as response:
                example.text = await response.text()
            texts = [example.text]
        else:
            async with http.get(f"/jobs/{example.job_id}/results") as response:
                lines = (await response.text()).splitlines()
            texts = [
                str(msgspec.json.decode(line)["response"]["body"]["choices"][0]["text"])
                for line in lines
            ]
            example.text = texts[0] if texts else ""
        if len(texts) != example.total or not all(text.strip() for text in texts):
            raise self.failed(f"{example.name} has answers without text")

    def _show_texts(self) -> None:
        for example in self._examples:
            count = f", first of {example.total}" if example.total > 1 else ""
            self._console.print(f"\n[bold]{example.name}[/] ({example.door}{count})")
            self._console.print(example.text.strip(), markup=False, style="cyan")

    async def _kubectl(self, *args: str) -> str:
        process = await asyncio.create_subprocess_exec(
            self._state.kubectl,
            "--kubeconfig",
            self._state.kubeconfig,
            *args,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode != 0:
            log = f"{self._state.log_dir}/operator.log"
            raise ExamplesFailedError(f"kubectl {args[0]}: {err.decode().strip()}", log)
        return out.decode()


def _apply(example: Example, kind: str, data: dict[str, Any]) -> None:
    """Take one event of a job's stream into what is shown."""
    if kind in {"state", "done"}:
        example.state = str(data["state"])
    elif kind == "delta":
        example.text += str(data["text"])
    elif kind == "reset":
        example.text = ""
    elif kind == "line":
        example.done, example.total = int(data["done"]), int(data["total"])


def _take_view(example: Example, view: dict[str, Any]) -> None:
    example.state = str(view["state"])
    example.message = str(view["message"])
    example.total = int(view["counts"]["total"])
    counts = view["counts"]
    example.done = sum(int(counts.get(name, 0)) for name in ("succeeded", "failed", "cancelled"))
