"""A stream's pieces become the answer that a request without streaming would have got."""

import json
from typing import Any

import msgspec
import pytest

from llmjobs_core.jobs import Usage
from llmjobs_testing.engine_generate import build_generation
from llmjobs_testing.engine_script import Script
from llmjobs_testing.engine_text import build_text
from llmjobs_worker.assemble import Answer, Before
from llmjobs_worker.chunks import parse_chunk
from llmjobs_worker.outlet import Piece, StopRule

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
EXACT = {
    "return_token_ids": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
}


def stream(
    body: dict[str, Any], script: Script, *, kind: str = "vllm", path: str = CHAT
) -> list[bytes]:
    whole = {"model": "m", "messages": [{"role": "user", "content": "a b"}], "prompt": "a b"}
    generation = build_generation(path, {**whole, **body}, script, kind=kind)
    chunks = generation.build_head()
    for step in generation.steps():
        chunks += generation.build_chunks(step)
    return [msgspec.json.encode(chunk) for chunk in chunks + generation.build_tail()]


def assemble(
    chunks: list[bytes], *, endpoint: str = CHAT, before: Before | None = None, exact: bool = True
) -> tuple[Answer, list[Piece]]:
    answer = Answer(endpoint, "m", before or Before(), exact=exact)
    pieces = [answer.take(parse_chunk(chunk)) for chunk in chunks]
    return answer, [piece for piece in pieces if piece]


def test_a_chat_answer_has_text_reason_and_usage() -> None:
    answer, _ = assemble(stream({**EXACT, "max_tokens": 5}, Script(tokens=20)))
    assert answer.is_whole
    built = json.loads(answer.build_response())
    assert built["object"] == "chat.completion"
    assert built["choices"] == [
        {
            "index": 0,
            "logprobs": None,
            "message": {"role": "assistant", "content": build_text(5), "refusal": None},
            "finish_reason": "length",
        }
    ]
    assert built["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    assert answer.build_usage() == Usage(3, 5)


def test_a_checkpoint_never_ends_inside_a_character() -> None:
    """Tokens 14 and 30 carry half a character each: their ids wait for the other half."""
    _, pieces = assemble(stream(EXACT, Script(tokens=40)))
    text, ids = "", 0
    for piece in pieces:
        text += piece.text
        ids += len(piece.token_ids)
        assert text == build_text(ids)
        assert piece.tokens == len(piece.token_ids)
    assert ids == 40


def test_prompt_ids_are_told_once() -> None:
    for path in (CHAT, COMPLETIONS):
        _, pieces = assemble(stream(EXACT, Script(), path=path), endpoint=path)
        assert [bool(p.prompt_token_ids) for p in pieces] == [True] + [False] * (len(pieces) - 1)


@pytest.mark.parametrize("kind", ["vllm", "llamacpp"])
def test_tokens_are_counted_without_ids(kind: str) -> None:
    options = {"stream_options": {"include_usage": True}}
    answer, pieces = assemble(stream(options, Script(tokens=12), kind=kind), exact=False)
    assert sum(piece.tokens for piece in pieces) == 12
    assert answer.build_usage().completion_tokens == 13  # the engine counts its end of text


def test_an_engine_that_tells_no_usage_is_counted() -> None:
    answer, _ = assemble(stream({}, Script(tokens=12), kind="llamacpp"), exact=False)
    assert answer.build_usage() == Usage(0, 12)


def test_usage_and_text_are_of_the_whole_over_continuations() -> None:
    before = Before(build_text(5), 5, in_prompt=True, prompt_tokens=3)
    ids = [11, 12, 13, *range(100_000, 100_005)]
    rest = stream({**EXACT, "prompt": ids, "max_tokens": 4}, Script(tokens=99), path=COMPLETIONS)
    answer, _ = assemble(rest, before=before)
    built = json.loads(answer.build_response())
    assert built["object"] == "chat.completion"
    assert built["choices"][0]["message"]["content"] == build_text(9)
    assert built["usage"] == {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}


def test_text_in_the_prompt_is_not_counted_as_prompt() -> None:
    answer = Answer(CHAT, "m", Before("abc", 3, in_prompt=True), exact=False)
    answer.take(parse_chunk(b'{"usage":{"prompt_tokens":10,"completion_tokens":4}}'))
    assert answer.build_usage() == Usage(7, 7)


def test_void_tokens_are_told_apart() -> None:
    answer = Answer(CHAT, "m", Before(regenerated=9), exact=False)
    answer.take(parse_chunk(b'{"usage":{"prompt_tokens":10,"completion_tokens":4}}'))
    assert answer.build_usage() == Usage(10, 4, 9)


def test_tool_calls_are_put_together() -> None:
    script = Script(tokens=3, tool="weather", arguments='{"city":"Riga"}')
    answer, pieces = assemble(stream(EXACT, script))
    choice = json.loads(answer.build_response())["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {
            "id": "call-1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city":"Riga"}'},
        }
    ]
    assert not any(piece.token_ids for piece in pieces)


def test_reasoning_is_kept_apart_and_ends_exactness() -> None:
    answer, pieces = assemble(stream(EXACT, Script(tokens=6, reasoning=2)))
    message = json.loads(answer.build_response())["choices"][0]["message"]
    assert message["reasoning"] == build_text(2)
    assert message["reasoning"] + message["content"] == build_text(6)
    assert not any(piece.token_ids for piece in pieces)


def test_several_choices_are_kept_apart_and_the_first_is_shown() -> None:
    answer, pieces = assemble(stream({**EXACT, "n": 3}, Script(tokens=4)), exact=False)
    built = json.loads(answer.build_response())
    assert [c["message"]["content"] for c in built["choices"]] == [build_text(4)] * 3
    assert "".join(piece.text for piece in pieces) == build_text(4)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_logprobs_are_joined(path: str) -> None:
    body = {"logprobs": True, "stream_options": {"include_usage": True}}
    answer, _ = assemble(stream(body, Script(tokens=4), path=path), endpoint=path, exact=False)
    logprobs = json.loads(answer.build_response())["choices"][0]["logprobs"]
    assert len(logprobs["content" if path == CHAT else "tokens"]) == 5


def test_a_stream_without_its_end_is_not_whole() -> None:
    chunks = stream(EXACT, Script(tokens=9))
    for cut in range(len(chunks) - 2):
        assert not assemble(chunks[:cut])[0].is_whole


def test_an_aborted_choice_is_not_whole() -> None:
    chunk = b'{"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}'
    assert not assemble([chunk])[0].is_whole


def chunk(**fields: Any) -> bytes:
    return msgspec.json.encode({"id": "a", **fields})


def say(text: str, ids: list[int] | None = None, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return chunk(choices=[choice if ids is None else {**choice, "token_ids": ids}])


def test_what_comes_with_the_end_goes_with_the_result_only() -> None:
    """A checkpoint that held a stop token's text would be continued behind it."""
    answer, pieces = assemble([say("a", [5]), say("b", [6], "stop")])
    assert [piece.text for piece in pieces] == ["a"]
    assert answer.take_rest() == Piece("b", (6,), 1)


def test_the_prompt_of_a_continuation_is_not_the_clients() -> None:
    """Taken for it, the tokens before the cut would be sent twice by the next worker."""
    before = Before("a", 1, in_prompt=True, prompt_tokens=2)
    choice = {"index": 0, "text": "b", "token_ids": [6], "prompt_token_ids": [1, 2, 5]}
    _, pieces = assemble([chunk(choices=[choice])], before=before)
    assert pieces == [Piece("b", (6,), 1)]


def test_text_without_ids_ends_exactness_for_good() -> None:
    _, pieces = assemble([say("a", [5]), say("b"), say("c", [7])])
    assert pieces == [Piece("a", (5,), 1), Piece("b", (), 1), Piece("c", (), 1)]


def test_a_chunk_of_several_tokens_is_one_piece() -> None:
    _, pieces = assemble([say("a b", [5, 6])])
    assert pieces == [Piece("a b", (5, 6), 2)]


def test_reasoning_counts_as_progress_that_can_not_be_continued() -> None:
    thought = chunk(choices=[{"index": 0, "delta": {"reasoning_content": "hm"}}])
    _, pieces = assemble([thought, say("a")], exact=False)
    assert [(piece.text, piece.tokens) for piece in pieces] == [("", 1), ("a", 1)]
    assert all(piece.is_partial for piece in pieces)


def test_a_stop_string_in_reasoning_ends_it_as_in_vllm() -> None:
    thoughts = [{"index": 0, "delta": {"reasoning": text}, "token_ids": [1]} for text in "aEND"]
    answer = Answer(CHAT, "m", Before(), exact=True, stop=StopRule(("END",)))
    for thought in thoughts:
        answer.take(parse_chunk(chunk(choices=[thought])))
    assert answer.is_stopped
    choice = json.loads(answer.build_response())["choices"][0]
    assert (choice["message"]["reasoning"], choice["finish_reason"]) == ("a", "stop")


def test_llamacpps_counts_stand_in_for_its_usage() -> None:
    timings = {"cache_n": 3, "prompt_n": 4, "predicted_n": 2, "predicted_ms": 1.5}
    answer = Answer(CHAT, "m", Before("x", 5, in_prompt=True), exact=False)
    answer.take(parse_chunk(chunk(choices=[{"delta": {"content": "b"}}], timings=timings)))
    assert answer.build_usage() == Usage(2, 7)


def test_details_of_one_request_are_not_told_of_a_continued_answer() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached": 8}}
    for before, is_told in ((Before(), True), (Before("a", 1, in_prompt=True), False)):
        answer, _ = assemble([chunk(usage=usage, choices=[])], before=before)
        told = json.loads(answer.build_response())["usage"]
        assert ("prompt_tokens_details" in told) is is_told
