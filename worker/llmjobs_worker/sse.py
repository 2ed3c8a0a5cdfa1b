"""Server-sent events from bytes: pure, and indifferent to how the network cut them.

Lines end in LF, CR LF or CR; a chunk may end anywhere, also inside a character or between CR and
LF. Source: the event stream format in the HTML standard ("Server-sent events").
"""

from dataclasses import dataclass

MAX_EVENT_BYTES = 32 * 2**20
"""An event larger than this is refused (arbitrary; a large one is a few MiB of logprobs)."""
_DATA = b"data: "
_NEXT = b"\n\n" + _DATA
_BOM = b"\xef\xbb\xbf"


class SSEEventTooLong(ValueError):
    """The stream sent more than ``MAX_EVENT_BYTES`` without ending an event."""


@dataclass(frozen=True, slots=True)
class SSEEvent:
    """One event; ``data`` is UTF-8 and its lines are joined by LF."""

    data: bytes
    name: bytes = b""
    """The ``event`` field; empty for a plain message."""


@dataclass(frozen=True, slots=True)
class PlainEvents:
    """Events that are each one line of data, still together."""

    data: bytes
    """What they say, with a comma between two."""
    count: int
    rest: bytes
    """What came behind them, without its end yet."""


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

    def peek_plain(self, chunk: bytes) -> PlainEvents | None:
        """Return the events that *chunk* completes if all of them are plain, and take nothing.

        They are taken by `skip_to`, or else by `feed`. So a whole read costs a few passes over its
        bytes, and no object an event.
        """
        if self._data or self._name or self._skip_lf or not self._started:
            return None
        if b"\n" not in chunk:
            return None  # a part of a large event, which is not to be copied for nothing
        whole = self._tail + chunk
        end = whole.rfind(b"\n\n")
        if end < 0 or not whole.startswith(_DATA) or b"\r" in whole:
            return None
        lines = whole[len(_DATA) : end].split(_NEXT)
        joined = b",".join(lines)
        if b"\n" in joined:
            return None  # a comment, another field, or data of several lines
        return PlainEvents(joined, len(lines), whole[end + 2 :])

    def skip_to(self, rest: bytes) -> None:
        """Go on with what `peek_plain` left over."""
        self._tail = rest

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
