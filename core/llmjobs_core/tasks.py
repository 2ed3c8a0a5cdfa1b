"""Ending background tasks for sure: one place, since one lost cancel would hang a shutdown."""

import asyncio
from collections.abc import Iterable
from typing import Any

CANCEL_AGAIN_S = 1.0


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* and return when all have ended; what they raise is for their owners.

    A cancel that meets a client library's own timeout in the same turn of the loop can come out as
    that timeout, which a task that retries takes for one more outage: so it is cancelled again.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
