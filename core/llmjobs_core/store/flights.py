"""Script calls of many tasks in one round trip: those of one turn of the loop travel together.

A call by itself costs redis-py more CPU (a connection taken and given back, a write, a wait) than
its script costs the server. Each call stays an atomic step of its own with an answer of its own;
only the way is shared. No call waits for one that left before it, so a connection that hangs holds
up nobody else.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import redis.asyncio

from llmjobs_core.errors import StoreUnavailable
from llmjobs_core.store.scripts import Arg, ScriptName, run_script, run_scripts
from llmjobs_core.tasks import end_tasks

MOST_CALLS = 8
"""Of one flight; what is more goes a turn later. The server answers a flight as a whole, so one
that held everything would have this process wait for the server, and the server for this process.
"""


@dataclass(frozen=True, slots=True)
class _Call:
    name: ScriptName
    args: Sequence[Arg]
    reply: asyncio.Future[Any]


class Flights:
    """Runs scripts for the tasks of one event loop."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._boarding: list[_Call] = []
        self._under_way: set[asyncio.Task[list[Any]]] = set()
        self._is_closing = False

    async def run(self, name: ScriptName, args: Sequence[Arg]) -> Any:
        """Run one script, as `run_script` does, together with what else leaves now."""
        loop = asyncio.get_running_loop()
        call = _Call(name, args, loop.create_future())
        if not self._boarding:
            loop.call_soon(self._leave)
        self._boarding.append(call)
        return await call.reply

    async def close(self) -> None:
        """End what is under way; whoever waits for it is cancelled."""
        self._is_closing = True
        await end_tasks(self._under_way)

    def _leave(self) -> None:
        """Send what has gathered."""
        calls, self._boarding = self._boarding[:MOST_CALLS], self._boarding[MOST_CALLS:]
        task = asyncio.create_task(self._fly(calls))
        self._under_way.add(task)
        task.add_done_callback(partial(self._land, calls))
        if self._boarding:
            asyncio.get_running_loop().call_soon(self._leave)

    async def _fly(self, calls: Sequence[_Call]) -> list[Any]:
        if len(calls) == 1:
            return [await run_script(self._client, calls[0].name, calls[0].args)]
        return await run_scripts(self._client, [(call.name, call.args) for call in calls])

    def _land(self, calls: Sequence[_Call], task: asyncio.Task[list[Any]]) -> None:
        self._under_way.discard(task)
        if task.cancelled() and self._is_closing:
            for call in calls:
                call.reply.cancel()
            return
        # By somebody who knows nothing of who waits here; to them it is a call without an answer.
        lost = StoreUnavailable("the call to Redis was cancelled") if task.cancelled() else None
        failure = lost or task.exception()
        replies = [failure] * len(calls) if failure else task.result()
        for call, reply in zip(calls, replies, strict=True):
            if call.reply.done():
                continue  # whoever asked has left
            if isinstance(reply, BaseException):
                call.reply.set_exception(reply)
            else:
                call.reply.set_result(reply)
