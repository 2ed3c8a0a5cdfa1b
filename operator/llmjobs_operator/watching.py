"""Keeping Kopf at work: it watches, and it must go on watching for as long as the operator runs."""

import asyncio
from collections.abc import Sequence

import kopf
import structlog

from llmjobs_core.tasks import end_tasks
from llmjobs_operator.handlers import Seen, build_registry

_log = structlog.get_logger(__name__)

AGAIN_S = 1.0


async def watch(seen: Seen, namespaces: Sequence[str], stop: asyncio.Event) -> None:
    """Run Kopf until *stop* is set, and start it again whenever it ends by itself.

    An error that the API server sends within a watch (etcd lost its leader) ends Kopf 1.45; the
    operator has its lease and its work in hand, and only needs to see again.
    """
    while not stop.is_set():
        run = asyncio.create_task(
            kopf.operator(
                registry=build_registry(seen),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stop,
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
        _log.warning("watching_again", error=str(error), kind=type(error).__name__)
        await asyncio.sleep(AGAIN_S)
