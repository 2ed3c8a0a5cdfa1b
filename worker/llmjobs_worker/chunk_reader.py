"""From the bytes of one engine stream to its chunks: plain ones together, all others one by one.

Pure; one reader a stream.
"""

from llmjobs_worker.chunks import Chunk, parse_chunk
from llmjobs_worker.plain_chunks import PlainRun, parse_plain
from llmjobs_worker.retry import Failure, parse_stream_error
from llmjobs_worker.sse import SSEParser

_DONE = b"[DONE]"

Part = Chunk | PlainRun


class ChunkReader:
    """Takes what the network brings."""

    __slots__ = ("_chat", "_has_begun", "_parser", "end")

    def __init__(self, *, chat: bool) -> None:
        """*chat* says whether the chunks are a chat's or a completion's."""
        self._chat = chat
        self._parser = SSEParser()
        self._has_begun = False
        self.end: Failure | bool = False
        """Whether the stream has ended, maybe by a failure."""

    def feed(self, data: bytes) -> list[Part]:
        """Return what *data* completes, up to the stream's end.

        Raises msgspec.DecodeError, UnicodeDecodeError or SSEEventTooLong for a malformed stream.
        """
        # The first chunk names the whole answer, so it is not taken for a plain one.
        if self._has_begun and (plain := self._parser.peek_plain(data)) is not None:
            run = parse_plain(plain.data, plain.count, chat=self._chat)
            if run is not None:
                self._parser.skip_to(plain.rest)
                return [run]
        return self._feed_one_by_one(data)

    def _feed_one_by_one(self, data: bytes) -> list[Part]:
        parts: list[Part] = []
        for event in self._parser.feed(data):
            if event.data == _DONE:
                self.end = True
                break
            chunk = parse_chunk(event.data)
            if chunk.error is not None:
                self.end = parse_stream_error(chunk.error)
                break
            self._has_begun = self._has_begun or bool(chunk.id)
            parts.append(chunk)
        return parts
