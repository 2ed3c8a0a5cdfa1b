"""Server-sent events from bytes: pure, and indifferent to how the network cut them.

Lines end in LF, CR LF or CR; a chunk may end anywhere, also inside a character or between CR and
LF. Source: the event stream format in the HTML standard ("Server-sent events").
"""

from dataclasses import dataclass

MAX_EVENT_BYTES = 32 * 2**20
"""An event larger than this is refused (arbitrary; a large one is a few MiB of logprobs)."""
_BOM = b"\xef\xbb\xbf"


class SSEEventTooLong(ValueError):
    """The stream sent more than ``MAX_EVENT_BYTES`` without ending an event."""


@dataclass(frozen=True, slots=True)
class SSEEvent:
    """One event; ``data`` is UTF-8 and its lines are joined by LF."""

    data: bytes
    name: bytes = b""
    """The ``event`` field; empty for a plain message."""


class SSEParser:
    """Turns chunks of a stream into events; one parser a stream."""

    __slots__ = ("_data", "_name", "_size", "_skip_lf", "_started", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._data: list[bytes] = []
        self._name = b""
        self._size = 0
        self._skip_lf = False
        self._started = False

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        """Return the events that *chunk* completes; raises SSEEventTooLong."""
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            # A final CR ends its line at once; if LF follows in the next chunk, it is dropped.
            self._skip_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = (self._tail + chunk).split(b"\n")
        self._tail = lines.pop()
        events: list[SSEEvent] = []
        for line in lines:
            if not self._started:
                self._started = True
                line = line.removeprefix(_BOM)  # noqa: PLW2901 - the same line without its mark
            if line:
                self._take_field(line)
            elif self._data:
                events.append(SSEEvent(b"\n".join(self._data), self._name))
                self._forget()
            else:
                self._forget()
        if self._size + len(self._tail) > MAX_EVENT_BYTES:
            raise SSEEventTooLong(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return events

    def _take_field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value)
        elif field == b"event":
            self._name = value
        elif field == b"error":
            # Not of the standard: older llama.cpp servers report a failure in this field.
            self._data.append(b'{"error":' + value + b"}")
            self._size += len(value)

    def _forget(self) -> None:
        self._data = []
        self._name = b""
        self._size = 0
