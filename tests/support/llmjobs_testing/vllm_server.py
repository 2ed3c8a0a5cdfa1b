"""A real vLLM on this machine's CPU, with a tiny random model that is made for it."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import aiohttp

from llmjobs_dev.ports import find_free_ports
from llmjobs_testing.waiting import eventually_async

START_TIMEOUT_S = 300.0
"""It takes a minute on two idle cores."""
MODEL = "tiny"
_RUNNING = re.compile(r"^vllm:num_requests_running\{.*\} (\S+)$", re.MULTILINE)


class VLLMServer:
    """One ``vllm serve``; *programs* is the ``bin`` folder of the environment it is in."""

    def __init__(self, programs: Path, make_model: Path, folder: Path) -> None:
        self._programs = programs
        self._make_model = make_model
        self._folder = folder
        self._log = folder / "vllm.log"
        self._process: asyncio.subprocess.Process | None = None
        (port,) = find_free_ports(1)
        self._port = port
        self.url = f"http://127.0.0.1:{port}"

    async def start(self) -> None:
        """Make the model, start the server, and return when it is healthy."""
        model = self._folder / "model"
        with self._log.open("wb") as log:
            maker = await asyncio.create_subprocess_exec(
                self._programs / "python", self._make_model, model, stdout=log, stderr=log
            )
            assert await maker.wait() == 0, self._log.read_text()
            self._process = await asyncio.create_subprocess_exec(
                self._programs / "vllm",
                *("serve", model, "--served-model-name", MODEL),
                *("--host", "127.0.0.1", "--port", str(self._port)),
                *("--enforce-eager", "--dtype", "bfloat16", "--max-model-len", "2048"),
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "HF_HUB_OFFLINE": "1",
                    "DO_NOT_TRACK": "1",
                    "VLLM_NO_USAGE_STATS": "1",
                    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; by default it takes a share of all memory
                },
            )
        await eventually_async(self._is_healthy, what="vLLM is up", timeout_s=START_TIMEOUT_S)

    async def stop(self) -> None:
        """End the server."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def fetch_answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return vLLM's own answer to a request, with nothing of ours between."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, json=body) as response,
        ):
            assert response.status == 200, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer

    async def fetch_running(self) -> int:
        """Return how many requests it generates for now."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + "/metrics") as response,
        ):
            return int(sum(float(value) for value in _RUNNING.findall(await response.text())))

    async def _is_healthy(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self._log.read_text()
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(self.url + "/health") as response,
            ):
                return response.status == 200
        except aiohttp.ClientError:
            return False
