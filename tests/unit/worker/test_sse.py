"""Events come out the same however the network cut the stream."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmjobs_worker import sse
from llmjobs_worker.sse import SSEEvent, SSEEventTooLong, SSEParser

STREAM = (
    "\ufeff: hello\n"
    'data: {"text": "é🙂"}\n\n'
    "event: usage\r\ndata:one\r\ndata: two\r\n\r\n"
    "id: 7\nretry: 10\n\n"
    "data\n\n"
    "data: last\r\rdata: [DONE]\n\n"
    "data: never ended\n"
).encode()
WANT = [
    SSEEvent('{"text": "é🙂"}'.encode()),
    SSEEvent(b"one\ntwo", b"usage"),
    SSEEvent(b""),
    SSEEvent(b"last"),
    SSEEvent(b"[DONE]"),
]


def parse(chunks: list[bytes]) -> list[SSEEvent]:
    parser = SSEParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=len(STREAM)))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert parse([STREAM[a:b] for a, b in pairwise(edges)]) == WANT


def test_a_byte_at_a_time_gives_the_same_events() -> None:
    assert parse([bytes([byte]) for byte in STREAM]) == WANT


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")), max_size=5))
def test_any_text_comes_through(lines: list[str]) -> None:
    stream = "".join(f"data: {line}\n\n" for line in lines).encode()
    assert [event.data.decode() for event in parse([stream])] == lines


def test_the_error_field_of_llamacpp_is_an_error_object() -> None:
    assert parse([b'error: {"code":500}\n\n']) == [SSEEvent(b'{"error":{"code":500}}')]


@pytest.mark.parametrize("chunk", [b"data: aaaaaaaa\n", b"aaaaaaaaaaaaaaa"])
def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch, chunk: bytes) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 40)
    with pytest.raises(SSEEventTooLong):
        parse([chunk] * 10)
