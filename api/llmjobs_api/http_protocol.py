"""uvicorn's quick HTTP protocol, and the bound on a request's head that httptools lacks."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX_BYTES = 32_768
"""Of all headers of a request, and of what may come without completing anything (arbitrary)."""


class HeadTooLarge(Exception):
    """The headers are over their limit; uvicorn answers 400 to whatever its parser raises."""


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a request whose headers, trailers included, are large or never end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._open_bytes = 0
        """What has come since the parser last told of something whole."""

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self._open_bytes += len(data)
        super().data_received(data)
        if self._open_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            self.send_400_response("A header is too large.")

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._open_bytes = 0
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_MAX_BYTES:
            raise HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Take the end of the head."""
        self._open_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._open_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the request."""
        self._open_bytes = 0
        super().on_message_complete()
