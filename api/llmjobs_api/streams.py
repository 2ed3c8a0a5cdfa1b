"""Server-sent events as a response: ready-made frames, one task that notices the client leave.

Not Starlette's StreamingResponse: a thousand watchers are a thousand of these, so each holds one
generator and one small task, and events that came together leave in one write.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmjobs_api.framing import GONE, KEEP_ALIVE, build_retry
from llmjobs_api.problems import Problem
from llmjobs_api.watch import Batch, End

RECONNECT_MS = 1000
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class EventStream(Response):
    """Sends batches of events until the last one, or until the client leaves."""

    def __init__(
        self,
        batches: AsyncIterator[Batch],
        *,
        on_leave: Callable[[], None],
        on_end: Callable[[], None],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send *batches*; *on_leave* is called when the client goes, *on_end* in every case."""
        super().__init__(headers=HEADERS | dict(headers or {}))
        del self.headers["content-length"]
        self._batches = batches
        self._on_leave = on_leave
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Run the response."""
        leaving = asyncio.create_task(self._notice_leave(receive))
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            await send(_body(build_retry(RECONNECT_MS)))
            async for batch in self._batches:
                frame = _encode(batch)
                if frame:
                    await send(_body(frame))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._on_end()
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving

    async def _notice_leave(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._on_leave()


def _encode(batch: Batch) -> bytes:
    if batch.events:
        return b"".join([event.sse for event in batch.events])
    if batch.end is End.CLOSED:
        return build_retry(RECONNECT_MS)
    if batch.end is End.GONE:
        return GONE
    return b"" if batch.end else KEEP_ALIVE


def _body(data: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": True}


class StreamSlots:
    """Bounds how many watch at once, in all and of one user."""

    def __init__(self, *, total: int, per_user: int) -> None:
        self._total = total
        self._per_user = per_user
        self._users: Counter[str] = Counter()
        self.used = 0
        """Watchers now."""

    def acquire(self, user: str) -> Callable[[], None]:
        """Take a slot and return what gives it back, once; raises the 429 problem."""
        if self.used >= self._total:
            raise _too_many(f"this gateway serves at most {self._total} watchers at once")
        if self._users[user] >= self._per_user:
            raise _too_many(f"one user may have at most {self._per_user} watchers at once")
        self.used += 1
        self._users[user] += 1
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self.used -= 1
                self._users[user] -= 1
                if not self._users[user]:
                    del self._users[user]

        return release

    @contextmanager
    def hold(self, user: str) -> Iterator[None]:
        """Hold a slot inside the context; raises the 429 problem."""
        release = self.acquire(user)
        try:
            yield
        finally:
            release()


def _too_many(detail: str) -> Problem:
    return Problem(429, "too_many_streams", detail, headers={"Retry-After": "5"})
