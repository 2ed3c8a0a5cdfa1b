"""Events as bytes on the wire: server-sent events and WebSocket messages. Pure.

A frame is made once for an event and shared by all its watchers.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import msgspec

from llmjobs_core.events import EventType, JobEvent

KEEP_ALIVE = b": ping\n\n"
"""A comment: clients ignore it, proxies see a live connection."""
GONE = b'event: gone\ndata: {"code":"job_not_found"}\n\n'
"""The end of a stream whose job is not there any more; connecting again gives a 404."""
GONE_MESSAGE = '{"type":"gone","data":{"code":"job_not_found"}}'

_NUMBERS = frozenset({"tokens", "line", "done", "total"})
_encoder = msgspec.json.Encoder()


def build_retry(delay_ms: int) -> bytes:
    """Return the hint after how long a client should connect again."""
    return b"retry: %d\n\n" % delay_ms


def event_data(event: JobEvent) -> dict[str, str | int | bool]:
    """Return an event's fields as JSON values."""
    data: dict[str, str | int | bool] = {}
    for name, value in event.fields.items():
        if name in _NUMBERS:
            data[name] = int(value)
        elif name == "ok":
            data[name] = value == "1"
        else:
            data[name] = value
    return data


def encode_sse(event: JobEvent) -> bytes:
    """Return *event* as one server-sent event; JSON has no raw line ends, so one data line."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (
        event.id.encode(),
        event.type.encode(),
        _encoder.encode(event_data(event)),
    )


def encode_message(event: JobEvent) -> str:
    """Return *event* as the text of one WebSocket message."""
    message = {"id": event.id, "type": event.type.value, "data": event_data(event)}
    return _encoder.encode(message).decode()


def parse_event_id(text: str) -> tuple[int, int]:
    """Return an event id as numbers that sort; ValueError if it is none."""
    ms, dash, sequence = text.partition("-")
    if not (
        dash and text.isascii() and ms.isdecimal() and sequence.isdecimal() and len(text) <= 41
    ):
        raise ValueError("not an event id")
    order = int(ms), int(sequence)
    if max(order) >= 2**64:
        raise ValueError("no number of an event id has more than 64 bits")
    return order


def build_id_before(order: tuple[int, int]) -> str:
    """Return the greatest id that sorts before *order*; a sequence is a 64-bit number."""
    ms, sequence = order
    return f"{ms}-{sequence - 1}" if sequence else f"{max(0, ms - 1)}-{2**64 - 1 if ms else 0}"


class SharedEvent:
    """An event with its place in the job's order, and its frame once somebody needed it."""

    __slots__ = ("_sse", "event", "order")

    def __init__(self, event: JobEvent) -> None:
        self.event = event
        self.order = parse_event_id(event.id)
        self._sse: bytes | None = None

    @property
    def sse(self) -> bytes:
        """The server-sent event."""
        if self._sse is None:
            self._sse = encode_sse(self.event)
        return self._sse

    @property
    def is_last(self) -> bool:
        """Whether the job's stream ends with it."""
        return self.event.type is EventType.DONE
