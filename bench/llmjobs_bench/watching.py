"""Starts the watchers of `llmjobs_bench.sse_reader`, and checks what they were told."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from llmjobs_bench.figures import SelfCheckFailed
from llmjobs_bench.rig import Server
from llmjobs_bench.sse_reader import Watched
from llmjobs_dev.process import die_with_parent

_OPEN_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 120.0


class WatcherProcess:
    """One process that watches jobs, each id in the list by one stream of its own."""

    def __init__(self, gateway: Server, ids: Sequence[str], log: Path) -> None:
        self._gateway = gateway
        self._ids = ids
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start; returns when every stream is open."""
        with self._log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "llmjobs_bench.sse_reader", str(self._gateway.port),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                preexec_fn=die_with_parent,
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(self._ids)).encode() + b"\n")
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            if not await self._process.stdout.readline():
                raise SelfCheckFailed(f"the streams could not be opened; log: {self._log}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill it if it still runs."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def wait(self) -> list[Watched]:
        """Return what the streams told, once all have ended."""
        assert self._process is not None
        async with asyncio.timeout(_END_TIMEOUT_S):
            output, _ = await self._process.communicate()
        if self._process.returncode:
            raise SelfCheckFailed(f"the watchers failed; log: {self._log}")
        return msgspec.json.decode(output, type=list[Watched])


def check_watched(watched: Sequence[Watched], hashes: Mapping[str, str], tokens: int) -> None:
    """Raise SelfCheckFailed unless each was told its job's whole text, once and in order.

    *hashes* has the SHA-256 of each job's stored text, *tokens* is what each has.
    """
    for one in watched:
        if one.end != "Succeeded":
            raise SelfCheckFailed(f"a watcher was told {one.end or 'no end'}")
        if not one.is_in_order:
            raise SelfCheckFailed("a watcher was told events out of order, or twice")
        if one.tokens != tokens:
            raise SelfCheckFailed(f"a watcher was told {one.tokens} tokens of {tokens}")
        if one.text_hash != hashes[one.job_id]:
            raise SelfCheckFailed("a watcher was not told the job's text, or not once")
