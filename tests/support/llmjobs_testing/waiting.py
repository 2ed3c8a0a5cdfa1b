"""Waiting for what nothing can notify a test of, with a bound and a reason."""

import asyncio
import time
from collections.abc import Awaitable, Callable

POLL_S = 0.01


async def eventually(check: Callable[[], bool], *, what: str, timeout_s: float = 20.0) -> None:
    """Return when *check* holds; AssertionError naming *what* after *timeout_s*."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        if check():
            return
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(POLL_S)


async def eventually_async(
    check: Callable[[], Awaitable[bool]], *, what: str, timeout_s: float = 20.0
) -> None:
    """As `eventually`, for a check that awaits."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        if await check():
            return
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(POLL_S)
