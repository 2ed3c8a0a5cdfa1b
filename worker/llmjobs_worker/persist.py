"""Calling the store until it answers: for steps that must not be lost and may be repeated."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from llmjobs_core.errors import RetryableError

_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 1.0

_log = structlog.get_logger(__name__)

T = TypeVar("T")


async def persist(
    call: Callable[[], Awaitable[T]], *, step: str, limit_s: float | None = None
) -> T:
    """Return what *call* gives, trying again while the store can't be reached.

    With *limit_s*, raises the last RetryableError when that time has passed. Other errors of the
    store are the caller's.
    """
    loop = asyncio.get_running_loop()
    until_s = None if limit_s is None else loop.time() + limit_s
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            return await call()
        except RetryableError as error:
            if until_s is not None and loop.time() + wait_s > until_s:
                raise
            _log.warning("store_call_failed", step=step, error=str(error))
        await asyncio.sleep(wait_s)
        wait_s = min(_LONGEST_WAIT_S, wait_s * 2)
