"""What an engine sends in a stream, as typed values: the parse line of the worker.

Source: OpenAI's chat and completion chunk objects, with what vLLM adds to them (``token_ids``,
``prompt_token_ids``, ``stop_reason``, ``reasoning``) and llama.cpp (``timings``). Parsed JSON
has no cycles, so the collector need not look at it: that halves what a chunk costs.
"""

from typing import Any

import msgspec

LogProbs = dict[str, list[Any] | None]


class FunctionDelta(msgspec.Struct, gc=False):
    """A piece of a tool call."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(msgspec.Struct, gc=False):
    """A piece of a tool call, told apart by ``index``."""

    index: int = 0
    id: str | None = None
    type: str | None = None
    function: FunctionDelta | None = None


class Delta(msgspec.Struct, gc=False):
    """A piece of a chat message."""

    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChunkChoice(msgspec.Struct, gc=False):
    """A piece of one choice; ``delta`` for chat, ``text`` for completions."""

    index: int = 0
    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    logprobs: LogProbs | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None


class EngineUsage(msgspec.Struct, omit_defaults=True, gc=False):
    """Tokens as the engine counts them."""

    prompt_tokens: int = 0
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None


class Timings(msgspec.Struct, gc=False):
    """llama.cpp's counts with each chunk (``timings_per_token``); other members are times."""

    cache_n: int = 0
    """Tokens of the prompt that it had in its cache."""
    prompt_n: int = 0
    """Tokens of the prompt that it read anew."""
    predicted_n: int = 0
    """Tokens generated so far."""


class Chunk(msgspec.Struct, gc=False):
    """One event of a stream."""

    id: str = ""
    created: int | float = 0
    model: str = ""
    system_fingerprint: str | None = None
    service_tier: str | None = None
    choices: list[ChunkChoice] | None = None
    usage: EngineUsage | None = None
    prompt_token_ids: list[int] | None = None
    timings: Timings | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(Chunk)


def find_usage(chunk: Chunk) -> EngineUsage | None:
    """Return the tokens so far as the chunk tells them; None if it does not."""
    if chunk.usage is not None or chunk.timings is None:
        return chunk.usage
    told = chunk.timings
    return EngineUsage(told.cache_n + told.prompt_n, told.predicted_n)


def parse_chunk(data: bytes) -> Chunk:
    """Return the chunk in an event's data; raises msgspec.DecodeError or UnicodeDecodeError."""
    return _decoder.decode(data)
