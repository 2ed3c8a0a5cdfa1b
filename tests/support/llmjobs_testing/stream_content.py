"""An engine's stream without a network: what aiohttp's reader would have, said by the test."""

FIRST = b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"token_ids":[7]}]}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}\n\n'
REFUSAL = b'data: {"error":{"message":"too long","code":400}}\n\n'
DONE = b"data: [DONE]\n\n"


class Content:
    """The reads to come, and maybe an error; past them, the end of the stream."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.error: Exception | None = None

    def exception(self) -> Exception | None:
        """Return what broke the stream."""
        return self.error

    def read_nowait(self) -> bytes:
        """Return what has come."""
        return self.reads.pop(0) if self.reads else b""

    async def readany(self) -> bytes:
        """Return the next read."""
        if self.error is not None:
            raise self.error
        return self.read_nowait()
