"""What a request must look like: one set of rules for both doors and for batch lines."""

import json
from typing import Any

import pytest

from llmjobs_core.requests import (
    InvalidRequest,
    RequestLimits,
    parse_batch_lines,
    parse_body,
    validate_request,
)

CHAT = "/v1/chat/completions"


def line(custom_id: str = "a", **change: Any) -> bytes:
    whole = {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/completions",
        "body": {"prompt": "hi"},
    }
    return json.dumps(whole | change).encode()


@pytest.mark.parametrize(
    ("endpoint", "body", "field"),
    [
        ("/v1/unknown", {}, "endpoint"),
        (CHAT, {}, "body.messages"),
        (CHAT, {"messages": []}, "body.messages"),
        (CHAT, {"messages": [{"content": "x"}]}, "body.messages[0]"),
        (CHAT, {"messages": [{"role": "user", "content": 5}]}, "body.messages[0].content"),
        ("/v1/completions", {"prompt": ""}, "body.prompt"),
        ("/v1/completions", {"prompt": ["a", {}]}, "body.prompt[1]"),
        ("/v1/completions", {"prompt": "x", "max_tokens": 0}, "body.max_tokens"),
        ("/v1/completions", {"prompt": "x", "max_tokens": True}, "body.max_tokens"),
        ("/v1/completions", {"prompt": "x", "n": 17}, "body.n"),
        ("/v1/completions", {"prompt": "x", "stream": "yes"}, "body.stream"),
        ("/v1/embeddings", {"input": 5}, "body.input"),
    ],
)
def test_wrong_request_is_refused_by_field(endpoint: str, body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        validate_request(endpoint, body)
    assert refused.value.field == field


def test_prompt_over_its_limit_is_refused_with_the_limit() -> None:
    with pytest.raises(InvalidRequest, match="longer than 10 characters"):
        validate_request("/v1/completions", {"prompt": "x" * 11}, RequestLimits(prompt_chars=10))


@pytest.mark.parametrize(
    ("body", "cost"),
    [
        ({"prompt": "x" * 400, "max_tokens": 50}, 150),
        ({"prompt": "x" * 400}, 356),
        ({"prompt": [1, 2, 3], "max_tokens": 7}, 10),
        ({"prompt": "x" * 8, "max_tokens": 5, "n": 2}, 12),
    ],
)
def test_cost_is_prompt_and_output_in_tokens(body: dict[str, Any], cost: int) -> None:
    assert validate_request("/v1/completions", body).cost == cost


def test_embeddings_cost_their_input_only() -> None:
    assert validate_request("/v1/embeddings", {"input": "x" * 40}).cost == 10


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_body_that_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="body"):
        parse_body(data)


def test_batch_lines_get_the_model_of_the_batch() -> None:
    (parsed,) = parse_batch_lines([line()], model="m")
    assert json.loads(parsed.body)["model"] == "m"


def test_blank_batch_lines_are_passed_over() -> None:
    lines = list(parse_batch_lines([b"\n", line("a"), b"  \n", line("b")], model="m"))
    assert [one.custom_id for one in lines] == ["a", "b"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"{nonsense", "line 2"),
        (b'{"custom_id": "b"}', "line 2"),
        (line("a"), "line 2: custom_id is used"),
        (line("b", method="GET"), "line 2: method"),
        (line("b", url="/v1/images"), "line 2: url"),
        (line("b", body={"prompt": "x", "model": "other"}), "line 2: body.model"),
        (line(""), "line 2: custom_id must have"),
    ],
)
def test_bad_batch_line_is_named_by_its_number(bad: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        list(parse_batch_lines([line("a"), bad], model="m"))


def test_batch_is_read_no_further_than_its_first_bad_line() -> None:
    def lines() -> Any:
        yield b"bad"
        raise AssertionError("read on after the bad line")

    with pytest.raises(InvalidRequest, match="line 1"):
        list(parse_batch_lines(lines(), model="m"))


def test_batch_over_its_line_limit_is_refused() -> None:
    many = (line(str(number)) for number in range(4))
    with pytest.raises(InvalidRequest, match="line 4: more than 3 lines"):
        list(parse_batch_lines(many, model="m", limits=RequestLimits(batch_lines=3)))


def test_empty_batch_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no lines"):
        list(parse_batch_lines([b"\n"], model="m"))
