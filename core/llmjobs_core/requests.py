"""What a request to an engine must look like, before it costs anybody a GPU second.

One set of rules for both doors and for batch lines. Pure: nothing here knows where a request came
from. Refusals name the field and the limit and never repeat what the field holds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from llmjobs_core.jobs import BatchLine

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")

_CONTENT_FIELD = {
    "/v1/chat/completions": "messages",
    "/v1/completions": "prompt",
    "/v1/embeddings": "input",
}

CHARACTERS_PER_TOKEN = 4
"""Rough for English; only the order of magnitude matters to the fair backlog."""
DEFAULT_OUTPUT_TOKENS = 256
"""What a request without a limit is taken to generate (arbitrary)."""


class InvalidRequest(ValueError):
    """A request that would be refused by every engine; *field* says where, the text what."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bounds on what is accepted."""

    body_bytes: int = 1_048_576
    """A whole request as JSON."""
    prompt_chars: int = 524_288
    """All text of messages, prompt or input together."""
    messages: int = 2_048
    inputs: int = 2_048
    """Items of ``prompt`` or ``input`` where it is a list."""
    choices: int = 16
    """``n``."""
    output_tokens: int = 1_000_000
    batch_lines: int = 50_000
    custom_id_chars: int = 512


DEFAULT_LIMITS = RequestLimits()


@dataclass(frozen=True, slots=True)
class RequestShape:
    """What there is to know of a valid request without reading it again."""

    model: str
    """As the body names it; empty when it does not."""
    cost: int
    """Estimated tokens, >= 1."""


def validate_request(
    endpoint: str, body: Mapping[str, Any], limits: RequestLimits = DEFAULT_LIMITS
) -> RequestShape:
    """Return the shape of an OpenAI request; unknown fields pass through to the engine.

    Raises InvalidRequest naming the field.
    """
    if endpoint not in ENDPOINTS:
        raise InvalidRequest("endpoint", f"must be one of {', '.join(ENDPOINTS)}")
    model = body.get("model", "")
    if not isinstance(model, str) or len(model) > 256:
        raise InvalidRequest("body.model", "must be a string of at most 256 characters")
    field = _CONTENT_FIELD[endpoint]
    if field not in body:
        raise InvalidRequest(f"body.{field}", f"is required for {endpoint}")
    chars = _measure_content(field, body[field], limits)
    if chars > limits.prompt_chars:
        raise InvalidRequest(f"body.{field}", f"is longer than {limits.prompt_chars} characters")
    output = 0 if endpoint == "/v1/embeddings" else _output_tokens(body, limits)
    choices = _bounded_int(body, "n", 1, limits.choices) or 1
    if body.get("stream") is not None and not isinstance(body["stream"], bool):
        raise InvalidRequest("body.stream", "must be true or false")
    return RequestShape(model, max(1, chars // CHARACTERS_PER_TOKEN + output * choices))


def _output_tokens(body: Mapping[str, Any], limits: RequestLimits) -> int:
    for field in ("max_completion_tokens", "max_tokens"):
        value = _bounded_int(body, field, 1, limits.output_tokens)
        if value is not None:
            return value
    return DEFAULT_OUTPUT_TOKENS


def _bounded_int(body: Mapping[str, Any], field: str, low: int, high: int) -> int | None:
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidRequest(f"body.{field}", f"must be a whole number from {low} to {high}")
    return value


def _measure_content(field: str, content: object, limits: RequestLimits) -> int:
    if field == "messages":
        return _measure_messages(content, limits)
    if isinstance(content, str):
        if not content:
            raise InvalidRequest(f"body.{field}", "must not be empty")
        return len(content)
    if not isinstance(content, list) or not content:
        raise InvalidRequest(f"body.{field}", "must be a string or a list that is not empty")
    if all(isinstance(item, int) for item in content):
        return len(content) * CHARACTERS_PER_TOKEN
    if len(content) > limits.inputs:
        raise InvalidRequest(f"body.{field}", f"has more than {limits.inputs} items")
    total = 0
    for index, item in enumerate(content):
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, list) and all(isinstance(token, int) for token in item):
            total += len(item) * CHARACTERS_PER_TOKEN
        else:
            raise InvalidRequest(f"body.{field}[{index}]", "must be a string or token ids")
    return total


def _measure_messages(messages: object, limits: RequestLimits) -> int:
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("body.messages", "must be a list with at least one message")
    if len(messages) > limits.messages:
        raise InvalidRequest("body.messages", f"has more than {limits.messages} messages")
    total = 0
    for index, message in enumerate(messages):
        where = f"body.messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidRequest(where, "must be an object with a role")
        content = message.get("content")
        if isinstance(content, str):
            total += len(content)
        elif isinstance(content, list):
            total += sum(
                len(part["text"])
                for part in content
                if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        elif content is not None:
            raise InvalidRequest(f"{where}.content", "must be a string or a list of parts")
    return total


def parse_body(data: bytes, limits: RequestLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Return *data* as a JSON object; raises InvalidRequest."""
    if len(data) > limits.body_bytes:
        raise InvalidRequest("body", f"is larger than {limits.body_bytes} bytes")
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("body", f"is not valid JSON: {_bounded(error)}") from error
    if not isinstance(body, dict):
        raise InvalidRequest("body", "must be a JSON object")
    return body


def _bounded(error: Exception) -> str:
    return str(error)[:120]


class _Line(msgspec.Struct):
    custom_id: str
    url: str
    body: dict[str, Any]
    method: str = "POST"


_LINE_DECODER = msgspec.json.Decoder(_Line)


def parse_batch_lines(
    lines: Iterable[bytes], *, model: str, limits: RequestLimits = DEFAULT_LIMITS
) -> Iterator[BatchLine]:
    """Yield the requests of an OpenAI batch file, one by one as its lines come.

    Blank lines are passed over. Every body gets *model* unless it names one itself, and one that
    names another is refused: a batch runs on one pool. Raises InvalidRequest at the first bad line,
    naming it by its number in the file (from 1).
    """
    seen: set[str] = set()
    for number, raw in enumerate(lines, start=1):
        data = raw.strip()
        if not data:
            continue
        if len(seen) >= limits.batch_lines:
            raise InvalidRequest(f"line {number}", f"more than {limits.batch_lines} lines")
        line = parse_batch_line(data, number, model=model, limits=limits)
        if line.custom_id in seen:
            raise InvalidRequest(f"line {number}", "custom_id is used by an earlier line")
        seen.add(line.custom_id)
        yield line
    if not seen:
        raise InvalidRequest("", "the batch has no lines")


def parse_batch_line(
    data: bytes, number: int, *, model: str, limits: RequestLimits = DEFAULT_LIMITS
) -> BatchLine:
    """Return one line of a batch file; raises InvalidRequest naming the line and field."""
    if len(data) > limits.body_bytes:
        raise InvalidRequest(f"line {number}", f"is larger than {limits.body_bytes} bytes")
    try:
        line = _LINE_DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"line {number}", _bounded(error)) from error
    if not 1 <= len(line.custom_id) <= limits.custom_id_chars:
        raise InvalidRequest(
            f"line {number}", f"custom_id must have 1 to {limits.custom_id_chars} characters"
        )
    if line.method != "POST":
        raise InvalidRequest(f"line {number}", "method must be POST")
    try:
        shape = validate_request(line.url, line.body, limits)
    except InvalidRequest as error:
        field = "url" if error.field == "endpoint" else error.field
        raise InvalidRequest(f"line {number}", f"{field} {error.message}") from error
    if shape.model not in {"", model}:
        raise InvalidRequest(f"line {number}", f"body.model must be {model}, as in the whole batch")
    body = line.body if shape.model else {**line.body, "model": model}
    return BatchLine(line.custom_id, line.url, msgspec.json.encode(body), cost=shape.cost)
