"""All HTTP to the engine, and nothing else: the only user of aiohttp's client here.

Whatever goes wrong becomes one `EngineError` with a `Failure` that says whether to try again.
Cancelling a caller closes its connection, which is how an engine learns to stop generating.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

import aiohttp
import msgspec

from llmjobs_core.jobs import JobError
from llmjobs_worker.assemble import CHAT
from llmjobs_worker.engine_stream import EngineStream
from llmjobs_worker.resume import EngineKind, EngineTraits
from llmjobs_worker.retry import (
    BODY_MAX,
    EngineError,
    Failure,
    build_error_body,
    build_network_error,
    parse_refusal,
)
from llmjobs_worker.sse import SSEEventTooLong

MODELS = "/v1/models"
_KEEPALIVE_S = 3.0
"""Below the 5 s after which uvicorn closes an idle connection, so that none is used as it dies."""
_ANSWER_MAX = 256 * 2**20
"""Largest answer that is not a stream; embeddings of a long list are some tens of MiB."""
_HEALTH_TIMEOUT_S = 2.0
_REFUSAL_TIMEOUT_S = 5.0
"""For the text of a refusal; its status is known by then."""
_TRAITS_TIMEOUT_S = 5.0


class Health(StrEnum):
    """How an engine answers its health check."""

    GOOD = "good"
    BAD = "bad"
    """It says so itself."""
    ABSENT = "absent"
    """Nobody listens."""
    SILENT = "silent"
    """No answer in time: it hangs, or is too busy to answer."""
    UNKNOWN = "unknown"
    """It was not asked: no connection could be opened on this side."""


class ConnectionNotOpened(aiohttp.ClientConnectionError):
    """The event loop could not open a connection; it says nothing of the engine."""


@dataclass(frozen=True, slots=True)
class EngineTimeouts:
    """How long silence is borne; there is no limit to a whole answer."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    """Until the first byte: a long prompt is silent while it is read."""
    idle_s: float = 120.0
    """Between two pieces of a stream."""


class EngineClient:
    """One engine, by its base URL."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "",
        timeouts: EngineTimeouts | None = None,
        connections: int = 0,
    ) -> None:
        """*connections* is the most at a time; 0 for no limit. Call in a running event loop."""
        self._base_url = base_url.rstrip("/").removesuffix("/v1")
        self._timeouts = timeouts or EngineTimeouts()
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=_KEEPALIVE_S),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect_s),
            raise_for_status=False,
            auto_decompress=True,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    @asynccontextmanager
    async def open_stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[EngineStream]:
        """Give a request's stream, to be read within; leaving early closes its connection.

        Raises EngineError, also for what its reading came to.
        """
        stream: EngineStream | None = None
        try:
            async with asyncio.timeout(self._timeouts.first_byte_s) as limit:
                async with self._request("POST", path, body) as response:
                    await _check_status(response)
                    stream = EngineStream(
                        response.content, limit, self._timeouts.idle_s, chat=path == CHAT
                    )
                    yield stream
        except aiohttp.ConnectionTimeoutError as error:
            raise _connection_error(error) from error
        except TimeoutError as error:
            has_begun = stream is not None and stream.has_begun
            code = "engine_idle_timeout" if has_begun else "engine_first_byte_timeout"
            raise build_network_error(code, "the engine was silent too long") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _connection_error(error) from error
        except (msgspec.DecodeError, UnicodeDecodeError, SSEEventTooLong) as error:
            raise build_network_error("engine_protocol_error", "the stream is malformed") from error

    async def fetch_whole(self, path: str, body: dict[str, Any]) -> bytes:
        """Return the answer to a request without streaming; raises EngineError."""
        try:
            async with (
                asyncio.timeout(self._timeouts.first_byte_s),
                self._request("POST", path, body) as response,
            ):
                await _check_status(response)
                answer = await _read_up_to(_ANSWER_MAX, response)
                if len(answer) > _ANSWER_MAX:
                    raise EngineError(_build_too_large())
                return answer
        except aiohttp.ConnectionTimeoutError as error:
            raise _connection_error(error) from error
        except TimeoutError as error:
            raise build_network_error("engine_timeout", "the engine was silent too long") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _connection_error(error) from error

    async def fetch_health(self, path: str) -> Health:
        """Return how a GET of *path* is answered."""
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                async with self._request("GET", path) as found:
                    return Health.GOOD if found.status < 300 else Health.BAD
        except TimeoutError:
            return Health.SILENT
        except ConnectionNotOpened:
            return Health.UNKNOWN
        except (aiohttp.ClientError, OSError):
            return Health.ABSENT

    async def fetch_traits(self) -> EngineTraits | None:
        """Return what the engine says of itself; None if it could not be asked.

        Source: ``owned_by`` of ``GET /v1/models`` is ``vllm`` or ``llamacpp`` at these engines;
        vLLM adds ``max_model_len``.
        """
        try:
            async with asyncio.timeout(_TRAITS_TIMEOUT_S):
                async with self._request("GET", MODELS) as response:
                    models = msgspec.json.decode(await response.read(), type=_Models)
        except (
            TimeoutError,
            aiohttp.ClientError,
            OSError,
            msgspec.DecodeError,
            UnicodeDecodeError,
        ):
            return None
        first = models.data[0] if models.data else _Model()
        kind = first.owned_by if first.owned_by in {*EngineKind} else EngineKind.OPENAI
        return EngineTraits(EngineKind(kind), first.max_model_len)

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            response = await self._session.request(
                method, self._base_url + path, data=data, headers=headers, allow_redirects=False
            )
        except RuntimeError as error:
            # uvloop's, where another connection was closed behind its back: a new one gets the same
            # number, and is taken for the old one.
            raise ConnectionNotOpened(str(error)) from error
        async with response:
            yield response


class _Model(msgspec.Struct):
    owned_by: str = ""
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model] = []


async def _check_status(response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    body = b""
    with suppress(aiohttp.ClientError, TimeoutError):  # the status says enough
        async with asyncio.timeout(_REFUSAL_TIMEOUT_S):
            body = await _read_up_to(BODY_MAX, response)
    retry_after = response.headers.get("Retry-After")
    failure = parse_refusal(response.status, body, retry_after, datetime.now(UTC))
    raise EngineError(failure)


async def _read_up_to(size_max: int, response: aiohttp.ClientResponse) -> bytes:
    """Return the whole body; of one that is longer than *size_max* bytes, the first and some."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > size_max:
            break
    return b"".join(pieces)


def _build_too_large() -> Failure:
    error = JobError("engine_answer_too_large", f"the answer has more than {_ANSWER_MAX} bytes")
    return Failure(error, retryable=False, body=build_error_body(error, "server_error"))


def _connection_error(error: Exception) -> EngineError:
    kind = type(error).__name__
    if isinstance(
        error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | ConnectionNotOpened
    ):
        message = f"the engine could not be reached: {kind}"
        return build_network_error("engine_unreachable", message, was_taken=False)
    return build_network_error(
        "engine_connection_lost", f"the connection to the engine broke: {kind}"
    )
