"""The work of every peer's task: one request to the engine, answered at once by one token.

By the quickest client that fits the kind of peer: http.client from a thread or a process of its
own, aiohttp from an event loop; both keep their connections.
"""

import http.client
import json
import os
import threading
from typing import Any
from urllib.parse import urlsplit

import aiohttp

PATH = "/v1/chat/completions"
_HEADERS = {"content-type": "application/json"}
_local = threading.local()


def fetch_text(body: dict[str, Any]) -> str:
    """Return what the engine says to *body*; blocks."""
    connection = getattr(_local, "connection", None)
    if connection is None:
        connection = http.client.HTTPConnection(urlsplit(os.environ["ENGINE_URL"]).netloc)
        _local.connection = connection
    connection.request("POST", PATH, json.dumps(body).encode(), _HEADERS)
    return read_text(connection.getresponse().read())


class AsyncEngine:
    """The engine, for an event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def fetch_text(self, body: dict[str, Any]) -> str:
        """Return what the engine says to *body*."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        url = os.environ["ENGINE_URL"] + PATH
        async with self._session.post(url, data=json.dumps(body), headers=_HEADERS) as response:
            return read_text(await response.read())


def read_text(answer: bytes) -> str:
    """Return the text of a chat completion."""
    text: str = json.loads(answer)["choices"][0]["message"]["content"]
    return text
