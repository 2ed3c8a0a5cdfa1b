"""The scripted engine as a process that is started again when it dies, as a kubelet does it."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from llmjobs_dev.ports import find_free_ports

_SUPPORT = Path(__file__).parents[1]


class EngineProcess:
    """``async with EngineProcess() as engine``: always the same URL, whoever listens there.

    It may be entered again after it was left.
    """

    def __init__(self, script: dict[str, object] | None = None) -> None:
        """*script* is the default script of its requests."""
        (self._port,) = find_free_ports(1)
        self._script = json.dumps(script or {})
        self._keeper: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self.starts = 0
        """How often it was started."""

    async def __aenter__(self) -> Self:
        """Start it; it may not listen yet."""
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it for good."""
        assert self._keeper is not None
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper

    def send(self, signum: signal.Signals) -> None:
        """Send the process a signal; it must be there."""
        assert self._process is not None
        self._process.send_signal(signum)

    async def _keep(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(_SUPPORT)}
        command = (sys.executable, "-m", "llmjobs_testing.engine")
        options = ("--port", str(self._port), "--script", self._script)
        while True:
            process = self._process = await asyncio.create_subprocess_exec(
                *command, *options, env=env, stdout=asyncio.subprocess.DEVNULL
            )
            self.starts += 1
            try:
                await process.wait()
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
