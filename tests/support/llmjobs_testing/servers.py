"""Real servers for tests: one Valkey and one control plane for each test process.

They run on an event loop in a thread of its own, so that tests with loops of their own share them.
"""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from llmjobs_dev.binaries import fetch_binaries
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.valkey import Valkey

T = TypeVar("T")


class ServerThread:
    """An event loop in a thread; the servers' processes live as long as it does."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], *, timeout_s: float = 1200) -> T:
        """Run *work* there and return what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def start_valkey(thread: ServerThread, folder: Path) -> Valkey:
    """Start a Valkey that keeps its data in *folder*."""
    valkey = Valkey(folder, folder / "valkey.log")
    thread.run(valkey.start())
    return valkey


def start_control_plane(thread: ServerThread, folder: Path) -> ControlPlane:
    """Start a control plane in *folder*; fails with every attempt named if it has no programs."""
    binaries = thread.run(fetch_binaries(print))
    plane = ControlPlane(binaries, folder)
    thread.run(plane.start())
    return plane
