"""A TCP proxy on loopback between a client and a server, that breaks the line as it is told.

It knows nothing of what passes through, so it stands before Redis, an engine or an API server
alike. A fault holds for the connections that are open and for new ones, until the next
:meth:`TcpProxy.set_fault`.
"""

import asyncio
import contextlib
import socket
import struct
from enum import StrEnum
from typing import Self

_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends RST, as a killed machine's peer would see.
Source: socket(7)."""


class Fault(StrEnum):
    """What is wrong with the line."""

    NONE = "none"
    """Bytes pass, after ``latency_s``."""
    REFUSE = "refuse"
    """New connections are reset at once; those that are open are reset too."""
    SILENT = "silent"
    """Half open: nothing passes in either direction and nobody is told, as when a firewall forgets
    a connection. New connections are taken and get no answer."""
    SILENT_TO_SERVER = "silent_to_server"
    """What the client says never arrives; what the server says does."""
    SILENT_TO_CLIENT = "silent_to_client"
    """What the client says arrives, and is acted on; the answers do not."""


_TO_SERVER = {Fault.SILENT, Fault.SILENT_TO_SERVER}
_TO_CLIENT = {Fault.SILENT, Fault.SILENT_TO_CLIENT}


class TcpProxy:
    """Listens on a free port of loopback and forwards to one server::

    async with TcpProxy("127.0.0.1", 6379) as proxy:
        client = connect(proxy.port)
        proxy.set_fault(Fault.SILENT)

    Bytes held back while the line is silent are lost when it is cut, and pass late when it is
    healed, as TCP's own retransmission would deliver them.
    """

    def __init__(self, host: str, port: int, *, listen_port: int = 0) -> None:
        """*listen_port* 0 takes a free one."""
        self.target = (host, port)
        """Where new connections lead; those that are open stay where they are. May be changed at
        any time, as a Service or a DNS name is."""
        self._listen_port = listen_port
        self._server: asyncio.Server | None = None
        self._fault = Fault.NONE
        self._healed = _build_direction_events()
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self.latency_s = 0.0
        """Added to everything on its way, in each direction; may be changed at any time."""
        self.accepted = 0
        """Connections taken so far, refused ones included."""
        self.set_fault(Fault.NONE)

    async def __aenter__(self) -> Self:
        """Start to listen."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; see :meth:`stop`."""
        await self.stop()

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self._listen_port

    @property
    def redis_url(self) -> str:
        """The URL of the first database behind it, where a Redis is."""
        return f"redis://127.0.0.1:{self._listen_port}/0"

    @property
    def open_connections(self) -> int:
        """Clients that are connected now."""
        return len(self._handlers)

    async def start(self) -> None:
        """Listen; raises OSError where a given port is taken."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self._listen_port, limit=_CHUNK
        )
        self._listen_port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and cut what is open."""
        if self._server is not None:
            self._server.close()
        handlers = set(self._handlers)
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        self.cut()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def set_fault(self, fault: Fault) -> None:
        """Let the line have *fault* from now on; :attr:`Fault.NONE` heals it."""
        self._fault = fault
        for to_server, silent in ((True, _TO_SERVER), (False, _TO_CLIENT)):
            if fault in silent:
                self._healed[to_server].clear()
            else:
                self._healed[to_server].set()
        if fault is Fault.REFUSE:
            self.cut()

    def cut(self) -> int:
        """Reset every open connection, on both sides; new ones are taken. Returns how many."""
        count = self.open_connections
        for writer in list(self._writers):
            _reset(writer)
        return count

    def abandon(self) -> int:
        """Silence the connections that are open now for good; new ones pass. Returns how many.

        The peer is still there, and forgot them: what a fail-over or a firewall leaves behind.
        """
        for healed in self._healed.values():
            healed.clear()
        self._healed = _build_direction_events()
        self.set_fault(self._fault)
        return self.open_connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._fault is Fault.REFUSE:
            _reset(writer)
            return
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        self._writers.add(writer)
        try:
            await self._join(reader, writer)
        except asyncio.CancelledError:
            # Only `stop` cancels a handler; asyncio's own callback would log it as an error.
            return
        finally:
            self._writers.discard(writer)
            self._handlers.discard(handler)
            _reset(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect to the server, and pass bytes until either side ends."""
        try:
            from_server, to_server = await asyncio.open_connection(*self.target, limit=_CHUNK)
        except OSError:
            return
        self._writers.add(to_server)
        healed = self._healed
        pumps = [
            asyncio.create_task(self._pump(reader, to_server, healed[True])),
            asyncio.create_task(self._pump(from_server, writer, healed[False])),
        ]
        try:
            # A side that is done sending may still listen: both must end, or one must fail.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers.discard(to_server)
            _reset(to_server)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, healed: asyncio.Event
    ) -> None:
        """Pass one direction until its end; raises OSError where the line is cut.

        What comes is read at once, and each piece goes when its time has come: a long line is slow
        to answer, and not narrow.
        """
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        reading = asyncio.create_task(self._read_all(reader, pieces))
        loop = asyncio.get_running_loop()
        try:
            while True:
                due_s, data = await pieces.get()
                await asyncio.sleep(due_s - loop.time())
                await healed.wait()
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        finally:
            reading.cancel()
            ended = (await asyncio.gather(reading, return_exceptions=True))[0]
        if isinstance(ended, OSError):
            raise ended
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _read_all(
        self, reader: asyncio.StreamReader, pieces: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        """Put what comes with the time when it may go on; empty bytes are the end."""
        loop = asyncio.get_running_loop()
        data = b""
        try:
            while data := await reader.read(_CHUNK):
                pieces.put_nowait((loop.time() + self.latency_s, data))
        finally:
            pieces.put_nowait((loop.time() + self.latency_s, b""))


def _build_direction_events() -> dict[bool, asyncio.Event]:
    """Return by direction (True is to the server) what is set while bytes pass."""
    return {True: asyncio.Event(), False: asyncio.Event()}


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once with RST; harmless when it is closed already."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
