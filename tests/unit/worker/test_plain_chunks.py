"""An answer is the same whether its chunks are taken a read at a time or one by one."""

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmjobs_testing.engine_generate import build_generation
from llmjobs_testing.engine_script import Script
from llmjobs_worker.assemble import CHAT, Answer, Before
from llmjobs_worker.chunk_reader import ChunkReader
from llmjobs_worker.chunks import parse_chunk
from llmjobs_worker.outlet import Piece, StopRule, join_pieces
from llmjobs_worker.plain_chunks import PlainRun, parse_plain
from llmjobs_worker.retry import Failure

COMPLETIONS = "/v1/completions"
TOKENS = 40
OPTIONS = {"include_usage": True, "continuous_usage_stats": True}


def build_events(path: str, script: Script, **body: Any) -> list[bytes]:
    whole = {"model": "m", "messages": [{"role": "user", "content": "a b"}], "prompt": "a b",
             "max_tokens": TOKENS, "return_token_ids": True, "stream_options": OPTIONS}  # fmt: skip
    generation = build_generation(path, whole | body, script, kind="vllm")
    chunks = generation.build_head()
    for step in generation.steps():
        chunks += generation.build_chunks(step)
    return [msgspec.json.encode(chunk) for chunk in chunks + generation.build_tail()]


def build_answer(path: str, stop: tuple[str, ...]) -> Answer:
    return Answer(path, "m", Before(), exact=True, stop=StopRule(stop))


def take_one_by_one(path: str, events: list[bytes], stop: tuple[str, ...]) -> tuple[Answer, Piece]:
    answer = build_answer(path, stop)
    return answer, join_pieces([answer.take(parse_chunk(event)) for event in events])


def take_reads(path: str, reads: list[bytes], stop: tuple[str, ...]) -> tuple[Answer, list[Piece]]:
    answer, reader = build_answer(path, stop), ChunkReader(chat=path == CHAT)
    return answer, [answer.take(part) for data in reads for part in reader.feed(data)]


def check_same(one: Answer, other: Answer) -> None:
    assert one.build_usage() == other.build_usage()
    assert one.take_rest() == other.take_rest()
    assert (one.is_whole, one.is_stopped, one.tokens) == (
        other.is_whole,
        other.is_stopped,
        other.tokens,
    )
    built, wanted = json.loads(other.build_response()), json.loads(one.build_response())
    assert built == wanted


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize(
    "script", [Script(tokens=TOKENS + 1), Script(tokens=TOKENS, reasoning=9)], ids=["plain", "r"]
)
@pytest.mark.parametrize("stop", [(), ("t30", "t9 t")], ids=["", "stop"])
@given(cuts=st.lists(st.integers(0, 11_000), max_size=12), is_noisy=st.booleans())
def test_reads_give_the_answer_that_single_chunks_give(
    path: str, script: Script, stop: tuple[str, ...], cuts: list[int], is_noisy: bool
) -> None:
    events = build_events(path, script)
    lines = [b"data: " + event + b"\n\n" for event in events]
    if is_noisy:
        lines[5] = b": ping\n\n" + lines[5].replace(b"\n", b"\r\n")
    stream = b"".join(lines) + b"data: [DONE]\n\n"
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    one, piece = take_one_by_one(path, events, stop)
    other, pieces = take_reads(path, [stream[a:b] for a, b in pairwise(edges)], stop)
    joined = join_pieces(pieces)
    assert (joined.text, joined.token_ids, joined.tokens, joined.is_partial) == (
        piece.text,
        piece.token_ids,
        piece.tokens,
        piece.is_partial,
    )
    check_same(one, other)


@given(cuts=st.lists(st.integers(0, 11_000), max_size=12))
def test_no_checkpoint_of_a_read_ends_inside_a_character(cuts: list[int]) -> None:
    events = build_events(CHAT, Script(tokens=TOKENS + 1))
    stream = b"".join(b"data: " + event + b"\n\n" for event in events)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    _, pieces = take_reads(CHAT, [stream[a:b] for a, b in pairwise(edges)], ())
    text, ids = "", 0
    for piece in pieces:
        text, ids = text + piece.text, ids + len(piece.token_ids)
        assert text == "".join(take_one_by_one(CHAT, events[: ids + 1], ())[1].text)
        assert piece.tokens == len(piece.token_ids)


def test_a_read_of_plain_chunks_is_one_part() -> None:
    events = build_events(CHAT, Script(tokens=TOKENS + 1))
    reader = ChunkReader(chat=True)
    reader.feed(b"data: " + events[0] + b"\n\n")
    (run,) = reader.feed(b"".join(b"data: " + event + b"\n\n" for event in events[1:30]))
    assert isinstance(run, PlainRun)
    assert (len(run.token_ids), run.count_open()) == (29, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"finish_reason": "stop"},
        {"logprobs": {"content": []}},
        {"index": 1},
        {"token_ids": []},
        {"delta": {"content": "a", "reasoning": "b"}},
        {"delta": {"content": "a", "tool_calls": [{"index": 0}]}},
        {"delta": {"content": None}},
    ],
    ids=str,
)
def test_a_chunk_with_anything_more_is_not_plain(change: dict[str, Any]) -> None:
    choice = {"index": 0, "delta": {"content": "a"}, "token_ids": [7]}
    assert parse_plain(json.dumps({"choices": [choice]}).encode(), 1, chat=True) is not None
    assert parse_plain(json.dumps({"choices": [choice | change]}).encode(), 1, chat=True) is None


def test_the_last_usage_told_in_a_read_counts() -> None:
    chunk = '{"choices":[{"delta":{"content":"a"},"token_ids":[7]}]'
    told = [f'{chunk},"usage":{{"completion_tokens":{n}}}}}' for n in (1, 2)]
    run = parse_plain(",".join([*told, chunk + "}"]).encode(), 3, chat=True)
    assert run is not None
    assert run.usage is not None
    assert run.usage.completion_tokens == 2


def test_two_chunks_in_one_event_are_malformed() -> None:
    chunk = b'{"choices":[{"delta":{"content":"a"},"token_ids":[7]}]}'
    assert parse_plain(chunk + b"," + chunk, 2, chat=True) is not None
    reader = ChunkReader(chat=True)
    reader.feed(b'data: {"id":"x","choices":[]}\n\n')
    with pytest.raises(msgspec.DecodeError):
        reader.feed(b"data: " + chunk + b"," + chunk + b"\n\n")


def test_an_error_in_the_middle_of_a_read_ends_the_stream_after_what_came_before() -> None:
    events = build_events(CHAT, Script(tokens=TOKENS + 1))
    events[4:] = [b'{"error":{"message":"no","code":500}}', events[5]]
    reader = ChunkReader(chat=True)
    parts = [part for e in (events[:1], events[1:]) for part in reader.feed(
        b"".join(b"data: " + event + b"\n\n" for event in e))]  # fmt: skip
    assert len(parts) == 4
    assert isinstance(reader.end, Failure)


def test_an_event_without_data_is_malformed_as_it_is_by_itself() -> None:
    reader = ChunkReader(chat=True)
    reader.feed(b'data: {"id":"x","choices":[]}\n\n')
    with pytest.raises(msgspec.DecodeError):
        reader.feed(b"data: \n\n")
