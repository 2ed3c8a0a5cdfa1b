"""The chunks that nearly all tokens come in, decoded a whole read at a time.

A plain chunk gives its one choice some text and the ids of its tokens, and nothing else. That is
what its type says, so msgspec's decoder finds out whether a read has only such chunks. All others
are `chunks`' business, one by one, and the answer is the same either way.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from llmjobs_worker.chunks import Chunk, ChunkChoice, Delta, EngineUsage

_Ids = Annotated[list[int], msgspec.Meta(min_length=1)]


class _Delta(msgspec.Struct, gc=False):
    content: str
    role: None = None
    refusal: None = None
    reasoning: None = None
    reasoning_content: None = None
    tool_calls: None = None


class _Choice(msgspec.Struct, kw_only=True, gc=False):
    token_ids: _Ids
    index: Literal[0] = 0
    finish_reason: None = None
    stop_reason: None = None
    logprobs: None = None
    prompt_token_ids: None = None


class _ChatChoice(_Choice, kw_only=True, gc=False):
    delta: _Delta
    text: None = None


class _TextChoice(_Choice, kw_only=True, gc=False):
    text: str
    delta: None = None


class _Chunk(msgspec.Struct, kw_only=True, gc=False):
    usage: EngineUsage | None = None
    prompt_token_ids: None = None
    timings: None = None
    error: None = None


class _ChatChunk(_Chunk, kw_only=True, gc=False):
    choices: tuple[_ChatChoice]


class _TextChunk(_Chunk, kw_only=True, gc=False):
    choices: tuple[_TextChoice]


_chat_decoder = msgspec.json.Decoder(list[_ChatChunk])
_text_decoder = msgspec.json.Decoder(list[_TextChunk])


class PlainRun:
    """Plain chunks in a row, put together."""

    __slots__ = ("_chunks", "_texts", "text", "token_ids", "usage")

    def __init__(self, chunks: Sequence[_ChatChunk | _TextChunk], texts: list[str]) -> None:
        """*texts* has what each of *chunks* says."""
        self._chunks = chunks
        self._texts = texts
        self.text = "".join(texts)
        self.token_ids = tuple([token for chunk in chunks for token in chunk.choices[0].token_ids])
        self.usage = self._find_usage()
        """What the last one that tells it tells."""

    @property
    def count(self) -> int:
        """How many chunks."""
        return len(self._chunks)

    def _find_usage(self) -> EngineUsage | None:
        for chunk in reversed(self._chunks):  # nearly always the last one
            if chunk.usage is not None:
                return chunk.usage
        return None

    def count_open(self) -> int:
        """Return how many tokens at the end have no text yet: their character is not whole."""
        count = 0
        for text, chunk in zip(reversed(self._texts), reversed(self._chunks), strict=True):
            if text:
                break
            count += len(chunk.choices[0].token_ids)
        return count

    def build_chunks(self) -> list[Chunk]:
        """Return the chunks one by one."""
        return [
            Chunk(
                choices=[ChunkChoice(delta=Delta(content=text), token_ids=c.choices[0].token_ids)],
                usage=c.usage,
            )
            for text, c in zip(self._texts, self._chunks, strict=True)
        ]


def parse_plain(data: bytes, count: int, *, chat: bool) -> PlainRun | None:
    """Return the *count* chunks in *data*, joined by commas; None unless all of them are plain."""
    array = b"[" + data + b"]"
    try:
        if chat:
            chats = _chat_decoder.decode(array)
            run = PlainRun(chats, [chunk.choices[0].delta.content for chunk in chats])
        else:
            texts = _text_decoder.decode(array)
            run = PlainRun(texts, [chunk.choices[0].text for chunk in texts])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return run if run.count == count else None
