"""One of llmjobs' own processes in the stack: ready when it answers, started again when it ends."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp
import structlog

from llmjobs_dev.process import Process, ProcessFailedError

_log = structlog.get_logger(__name__)

READY_TIMEOUT_S = 60.0
_RESTART_FIRST_S = 0.5
_RESTART_CAP_S = 10.0
_CALM_S = 30.0
"""A process that ran so long is started again at once (arbitrary)."""
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


class Role:
    """Runs ``python -m MODULE`` and keeps it running; *changed* is called at each new process."""

    def __init__(
        self,
        name: str,
        module: str,
        *,
        env: Mapping[str, str],
        ready_url: str,
        log: Path,
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self._ready_url = ready_url
        self._changed = changed
        # Nothing of the user's own settings (KUBECONFIG, LLMJOBS_...) may leak in.
        base = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        self._process = Process(name, [sys.executable, "-m", module], log=log, env={**base, **env})
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Its process id; 0 before it is started."""
        return self._process.pid

    async def start(self) -> None:
        """Start it and return when it is ready. Raises ProcessFailedError."""
        await self._process.start()
        await self._wait_until_ready()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep-{self.name}")

    async def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(self._ready_url) as response:
                        if response.status == 200:
                            return
                if self._process.exit_code is not None:
                    message = f"{self.name} ended with status {self._process.exit_code}"
                    raise ProcessFailedError(message, self._process.log)
                if time.monotonic() > deadline:
                    raise ProcessFailedError(f"{self.name} is not ready", self._process.log)
                await asyncio.sleep(0.1)

    async def _keep(self) -> None:
        delay_s = _RESTART_FIRST_S
        while True:
            started_s = time.monotonic()
            status = await self._process.wait()
            if time.monotonic() - started_s > _CALM_S:
                delay_s = _RESTART_FIRST_S
            _log.warning("role_ended", role=self.name, status=status, again_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _RESTART_CAP_S)
            await self._process.start()
            self._changed()

    async def stop(self) -> None:
        """End it in order; harmless when it was never started."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._process.stop(grace_s=10)
