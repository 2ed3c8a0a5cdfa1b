"""Keeping Kopf at work: it watches, and it must go on watching for as long as the operator runs."""

import asyncio
import signal
import threading
from collections.abc import Sequence

import kopf
import structlog
from kopf._core.engines.peering import Identity

from llmjobs_core.tasks import end_tasks
from llmjobs_operator.handlers import Seen, build_registry

_log = structlog.get_logger(__name__)

AGAIN_S = 1.0


def end_at_signals(stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set *stop*; Kopf changes that each time it starts."""
    if threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)


async def watch(
    seen: Seen, namespaces: Sequence[str], stop: asyncio.Event, *, identity: str
) -> None:
    """Run Kopf until *stop* is set, and start it again whenever it ends by itself.

    An error that the API server sends within a watch (etcd lost its leader) ends Kopf 1.45; the
    operator has its lease and its work in hand, and only needs to see again. An end without an
    error is by a signal, and sets *stop*.
    """
    while not stop.is_set():
        run = asyncio.create_task(
            kopf.operator(
                registry=build_registry(seen, scan=not namespaces),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stop,
                # Kopf's own would have the user's name, and in a container the user has none.
                identity=Identity(identity),
            )
        )
        try:
            await asyncio.wait({run})
        except asyncio.CancelledError:
            await end_tasks([run])
            raise
        if stop.is_set():
            return
        error = None if run.cancelled() else run.exception()
        if error is None and not run.cancelled():
            # Kopf takes the signals that end a process for itself, and ends in order by them.
            stop.set()
            return
        end_at_signals(stop)
        _log.warning("watching_again", error=str(error), kind=type(error).__name__)
        await asyncio.sleep(AGAIN_S)
