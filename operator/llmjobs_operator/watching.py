"""Keeping Kopf at work: it watches, and it must go on watching for as long as the operator runs.

Kopf's tasks are spawned and ended here, and not by ``kopf.operator``. Where that ends by itself, it
cancels every task of the process that is younger than itself, ours too; and it may wait for ever:
a watcher that meets its one cancel while its pause is cancelled beside it takes that for a pause,
and goes on waiting for a login that nobody does any more (1.45.2).
"""

import asyncio
import signal
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import kopf
import structlog
from kopf._cogs.structs.credentials import Vault
from kopf._cogs.structs.references import Insights
from kopf._core.engines.peering import Identity

from llmjobs_core.tasks import CANCEL_AGAIN_S, end_tasks
from llmjobs_operator.handlers import Seen, build_registry
from llmjobs_operator.objects import COLLECTIONS

_log = structlog.get_logger(__name__)

AGAIN_S = 1.0
END_S = 5.0
"""How long Kopf may take to end in order, before it is cancelled again and again."""
_WATCHER = "watcher for "
"""What the names of Kopf's watchers begin with."""
_KOPF = str(Path(kopf.__file__).parent)

_WATCHED = {plural for _, plural in COLLECTIONS.values()}

_Tasks = Collection[asyncio.Task[Any]]


class NotServed(Exception):
    """The API server does not serve all that is to be watched: it starts, or lacks the CRDs."""


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
    operator has its lease and its work in hand, and only needs to see again.
    """
    while not stop.is_set():
        insights, vault = Insights(), Vault()
        stopped = asyncio.create_task(stop.wait())
        tasks: _Tasks = ()
        try:
            tasks = await kopf.spawn_tasks(
                registry=build_registry(seen, scan=not namespaces),
                insights=insights,
                vault=vault,
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                # Kopf's own would have the user's name, and in a container the user has none.
                identity=Identity(identity),
            )
            end_at_signals(stop)
            tasks = [*tasks, asyncio.create_task(_check_served(insights))]
            await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
            error = _find_error(tasks)
        finally:
            await end_tasks([stopped])
            await _end_kopf(tasks)
            await vault.close()  # again: a watcher that Kopf lost sight of opens a session anew
        if not stop.is_set():
            _log.warning("watching_again", error=str(error), kind=type(error).__name__)
            await asyncio.sleep(AGAIN_S)


async def _check_served(insights: Insights) -> None:
    """Raise NotServed if the API server lacks a kind that is to be watched; else wait for ever.

    One that has just started serves some kinds later than others, and Kopf asks only once.
    """
    await insights.ready_resources.wait()
    lacking = _WATCHED - {resource.plural for resource in insights.watched_resources}
    if lacking:
        raise NotServed(f"the API server does not serve {', '.join(sorted(lacking))}")
    await asyncio.Event().wait()


def _find_error(tasks: _Tasks) -> BaseException | None:
    ended = (task for task in tasks if task.done() and not task.cancelled())
    return next((error for task in ended if (error := task.exception()) is not None), None)


async def _end_kopf(tasks: _Tasks) -> None:
    """End *tasks* and whatever they began and left behind; nothing of Kopf's outlives this."""
    begun = {*tasks, *_list_kopfs()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=END_S)
    # Before the tasks they own: one that ends while its own are cancelled waits for them for ever.
    await end_tasks(task for task in _list_kopfs() if task.get_name().startswith(_WATCHER))
    while left := _list_kopfs():
        begun |= {*left}
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_AGAIN_S)  # the last ones may begin more
    for task in begun:
        if not task.cancelled():
            task.exception()  # or asyncio tells of it as of one that nobody asked for


def _list_kopfs() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if _is_kopfs(task)]


def _is_kopfs(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename.startswith(_KOPF)
