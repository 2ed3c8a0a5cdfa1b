"""A link to a server that a test can slow down, cut, silence and lead elsewhere: a TCP proxy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK = 65536


class Link:
    """A port on loopback that leads to another one; change its attributes at any time."""

    def __init__(self, target: int) -> None:
        self.target = target
        """The port that new connections lead to; those that are open stay where they are."""
        self.delay_s = 0.0
        """Added to everything on its way, in each direction; what is under way stays in order."""
        self.is_open = True
        """Whether new connections are taken; they are refused else."""
        self._flows = asyncio.Event()
        self._flows.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """The URL of the first database behind it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """End every open connection."""
        for writer in self._open:
            writer.transport.abort()

    def silence(self) -> None:
        """Let nothing through and end nothing, as a dead network does; also not new connections."""
        self._flows.clear()

    def unsilence(self) -> None:
        """Let everything through again; what was sent meanwhile arrives now."""
        self._flows.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            if not self.is_open:
                return
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
                self._open.add(far_writer)
                try:
                    both = [self._carry(reader, far_writer), self._carry(far_reader, writer)]
                    ways = [asyncio.create_task(way) for way in both]
                    try:
                        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for way in ways:
                            way.cancel()
                        await asyncio.gather(*ways, return_exceptions=True)
                finally:
                    self._open.discard(far_writer)
                    far_writer.transport.abort()
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction: read at once, and let each piece go when its time has come."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            with suppress(ConnectionError):
                while data := await reader.read(_CHUNK):
                    pieces.put_nowait((loop.time() + self.delay_s, data))
            pieces.put_nowait((loop.time() + self.delay_s, b""))

        reading = asyncio.create_task(read())
        try:
            while True:
                due_s, data = await pieces.get()
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                await self._flows.wait()
                if not data:
                    return
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def close(self) -> None:
        """End everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def open_link(target: int) -> AsyncIterator[Link]:
    """Open a link to port *target*."""
    link = Link(target)
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    link.port = server.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        server.close()
        await link.close()
