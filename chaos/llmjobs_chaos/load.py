"""The clients: they submit, watch and cancel over HTTP, and write into the ledger what they learn.

A client does what the documentation tells it to: a submission that got a 5xx or no answer is sent
again with its key, to whichever gateway answers; a stream that broke is taken up with
``Last-Event-ID``, at another gateway.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, Self

import aiohttp
import msgspec

from llmjobs_chaos.cluster import MODEL, POOL
from llmjobs_chaos.ledger import Asked, Wanted, Watched
from llmjobs_testing.gateways import read_sse

_AGAIN_S = 0.2
_CALL_TIMEOUT_S = 10.0
_LIMIT_S = 120.0
"""A client that got no good answer for so long gives up, and the invariants say what is missing."""
CHAT = "/v1/chat/completions"


def build_body(wanted: Wanted) -> dict[str, Any]:
    """Return the OpenAI request whose one right answer is ``wanted.text``."""
    script: dict[str, Any] = {"tokens": wanted.tokens, "rate": wanted.rate}
    if wanted.stall_at >= 0:
        script["stall_at"] = wanted.stall_at
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": "tell me"}],
        "seed": wanted.seed,
        "user": wanted.user,
        "script": script,
    }


class Gateway(Protocol):
    """Where clients call."""

    @property
    def url(self) -> str:
        """Its address."""


class Clients:
    """All clients of a scenario, over one connection pool."""

    def __init__(
        self,
        gateways: Sequence[Gateway],
        *,
        backoff_limit: int = 3,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """*backoff_limit* is what the clients ask for with each job; *headers* go with all."""
        self._gateways = gateways
        self._backoff_limit = backoff_limit
        self._turn = itertools.count()
        timeout = aiohttp.ClientTimeout(total=_CALL_TIMEOUT_S)
        self._http = aiohttp.ClientSession(timeout=timeout, headers=headers)

    async def __aenter__(self) -> Self:
        """Nothing is connected yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._http.close()

    # -- submitting ---------------------------------------------------------------------------

    async def submit(self, asked: Asked, *, by_s: float = _LIMIT_S) -> None:
        """Submit one job until it is accepted."""
        if asked.is_batch:
            data = b"\n".join(_build_line(i, w) for i, w in enumerate(asked.requests))
            query = f"pool={POOL.name}&backoffLimit={self._backoff_limit}"
            path, kind = f"/jobs?{query}", "application/jsonl"
        else:
            path, kind = "/jobs", "application/json"
            data = msgspec.json.encode(self._build_job(asked))
        headers = {"Idempotency-Key": asked.key, "Content-Type": kind}
        answer, refusals = await self._insist("POST", path, data, headers, by_s=by_s)
        asked.refusals += refusals
        if answer is not None:
            asked.ids.add(answer["id"])

    async def submit_many(self, key: str, jobs: Sequence[Asked]) -> None:
        """Submit up to 100 single jobs in one request, until it is accepted."""
        data = msgspec.json.encode({"jobs": [self._build_job(asked) for asked in jobs]})
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        answer, refusals = await self._insist("POST", "/jobs", data, headers)
        for asked, made in zip(jobs, answer["jobs"] if answer else (), strict=bool(answer)):
            asked.refusals += refusals
            asked.ids.add(made["id"])

    def _build_job(self, asked: Asked) -> dict[str, Any]:
        return {"body": build_body(asked.requests[0]), "backoffLimit": self._backoff_limit}

    # -- the owner's wishes -------------------------------------------------------------------

    async def cancel(self, asked: Asked) -> float:
        """Cancel until it is acknowledged; returns when the request that was went out."""
        answer, sent_s = await self._insist_timed("POST", f"/jobs/{asked.id}/cancel")
        if answer is not None and answer["state"] == "Cancelled":
            asked.is_cancelled = True
        return sent_s

    async def hold_for(self, asked: Asked, seconds: float) -> None:
        """Suspend the job, and resume it after *seconds*; one that has ended stays as it is."""
        await self._insist("POST", f"/jobs/{asked.id}/suspend")
        await asyncio.sleep(seconds)
        await self._insist("POST", f"/jobs/{asked.id}/resume")

    async def fetch_job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the gateway shows it now."""
        answer, _ = await self._insist("GET", f"/jobs/{job_id}")
        assert answer is not None, f"no gateway tells of job {job_id}"
        found: dict[str, Any] = answer
        return found

    async def fetch_result(self, job_id: str) -> dict[str, Any]:
        """Return the stored answer of a job that succeeded."""
        answer, _ = await self._insist("GET", f"/jobs/{job_id}/result")
        assert answer is not None, f"no gateway has the result of job {job_id}"
        found: dict[str, Any] = answer
        return found

    async def read_lines(self, asked: Asked) -> list[dict[str, Any]]:
        """Return a batch's results as its file of OpenAI batch output, line by line."""
        gateway = self._gateways[0]
        async with self._http.get(f"{gateway.url}/jobs/{asked.id}/results") as response:
            lines = (await response.read()).splitlines()
        return [msgspec.json.decode(line) for line in lines]

    # -- watching -----------------------------------------------------------------------------

    async def watch(self, asked: Asked, *, patience_s: float = 300.0) -> None:
        """Follow the job to its end, from gateway to gateway; each takes up where one left off."""
        watched = asked.watched = Watched()
        async with asyncio.timeout(patience_s):
            while not watched.ends:
                # Where the gateway is gone: on to the next.
                with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
                    await self._follow(asked.id, watched)
                if not watched.ends:
                    watched.reconnects += 1
                    await asyncio.sleep(_AGAIN_S)

    async def _follow(self, job_id: str, watched: Watched) -> None:
        headers = {"Last-Event-ID": watched.last_id} if watched.last_id else {}
        url = f"{self._next_gateway().url}/jobs/{job_id}/events"
        # Keep-alives come every 15 s; a gateway that is frozen sends none.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=20)
        async with self._http.get(url, headers=headers, timeout=timeout) as response:
            if response.status != 200:
                return
            async for event in read_sse(response):
                watched.last_id = event.id
                if event.type == "reset":
                    watched.text, watched.resets = "", watched.resets + 1
                elif event.type == "delta":
                    watched.text += event.data["text"]
                elif event.type == "done":
                    watched.ends.append(event.data["state"])

    # -- calling ------------------------------------------------------------------------------

    async def _insist(
        self,
        method: str,
        path: str,
        data: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        by_s: float = _LIMIT_S,
    ) -> tuple[Any, int]:
        """Call until an answer below 500 comes; returns it (None for none) and the refusals."""
        refusals = 0
        until_s = time.monotonic() + by_s
        while time.monotonic() < until_s:
            status, answer = await self._call(method, path, data, headers or {})
            if 0 < status < 300:
                return answer, refusals
            if 300 <= status < 500 and status != 429:
                # A good submission may be put off, never refused.
                assert path.rsplit("/", maxsplit=1)[-1] in {"cancel", "suspend", "resume"}, (
                    status,
                    answer,
                )
                return None, refusals
            refusals += 1
            await asyncio.sleep(_AGAIN_S)
        return None, refusals

    async def _insist_timed(self, method: str, path: str) -> tuple[Any, float]:
        while True:
            sent_s = time.time()
            answer, refusals = await self._insist(method, path, by_s=0.01)
            if answer is not None or not refusals:
                return answer, sent_s

    async def _call(
        self, method: str, path: str, data: bytes, headers: dict[str, str]
    ) -> tuple[int, Any]:
        """Return status and body; status 0 where no answer came."""
        url = f"{self._next_gateway().url}{path}"
        try:
            async with self._http.request(method, url, data=data, headers=headers) as response:
                body = await response.read()
                return response.status, msgspec.json.decode(body) if body else None
        except (aiohttp.ClientError, ConnectionError, TimeoutError, msgspec.DecodeError):
            return 0, None

    def _next_gateway(self) -> Gateway:
        return self._gateways[next(self._turn) % len(self._gateways)]


def _build_line(number: int, wanted: Wanted) -> bytes:
    line = {
        "custom_id": f"line-{number}",
        "method": "POST",
        "url": CHAT,
        "body": build_body(wanted),
    }
    return msgspec.json.encode(line)
