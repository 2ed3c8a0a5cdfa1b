"""The proxy that stands between parts in tests of broken lines."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from llmjobs_testing.tcp_proxy import Fault, TcpProxy

QUIET_S = 0.2


class Line:
    """One connection through the proxy to a server that repeats what it hears."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, text: bytes) -> None:
        self._writer.write(text)
        await self._writer.drain()

    async def hear(self, timeout_s: float = 5.0) -> bytes:
        async with asyncio.timeout(timeout_s):
            return await self._reader.read(100)

    async def is_silent(self) -> bool:
        try:
            await self.hear(QUIET_S)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._writer.close()


class Echo:
    def __init__(self) -> None:
        self.heard = b""
        self.spoken_to = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                self.heard += data
                self.spoken_to.set()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    yield echo, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def proxy(echo: tuple[Echo, int]) -> AsyncIterator[TcpProxy]:
    async with TcpProxy("127.0.0.1", echo[1]) as proxy:
        yield proxy


async def connect(proxy: TcpProxy) -> Line:
    return Line(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def open_line(proxy: TcpProxy) -> Line:
    """Connect, and see that the line is through."""
    line = await connect(proxy)
    await line.say(b"a")
    assert await line.hear() == b"a"
    return line


async def test_bytes_pass_in_both_directions(proxy: TcpProxy) -> None:
    line = await open_line(proxy)
    assert proxy.open_connections == 1
    line.close()


async def test_a_cut_line_is_reset_and_the_next_one_passes(proxy: TcpProxy) -> None:
    line = await open_line(proxy)
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        await line.hear()
    (await open_line(proxy)).close()


async def test_a_refusing_proxy_resets_what_is_open_and_what_comes(proxy: TcpProxy) -> None:
    line = await open_line(proxy)
    proxy.set_fault(Fault.REFUSE)
    with pytest.raises(ConnectionResetError):
        await line.hear()
    with pytest.raises(ConnectionResetError):
        await (await connect(proxy)).hear()
    proxy.set_fault(Fault.NONE)
    (await open_line(proxy)).close()


async def test_a_silent_line_stays_open_and_its_bytes_pass_when_it_is_healed(
    proxy: TcpProxy,
) -> None:
    line = await open_line(proxy)
    proxy.set_fault(Fault.SILENT)
    await line.say(b"b")
    assert await line.is_silent()
    proxy.set_fault(Fault.NONE)
    assert await line.hear() == b"b"
    line.close()


async def test_a_line_silent_to_the_client_is_still_heard_by_the_server(
    proxy: TcpProxy, echo: tuple[Echo, int]
) -> None:
    line = await open_line(proxy)
    echo[0].spoken_to.clear()
    proxy.set_fault(Fault.SILENT_TO_CLIENT)
    await line.say(b"b")
    await asyncio.wait_for(echo[0].spoken_to.wait(), 5)
    assert echo[0].heard == b"ab"
    assert await line.is_silent()
    line.close()


async def test_a_line_silent_to_the_server_is_not_heard(
    proxy: TcpProxy, echo: tuple[Echo, int]
) -> None:
    line = await open_line(proxy)
    proxy.set_fault(Fault.SILENT_TO_SERVER)
    await line.say(b"b")
    assert await line.is_silent()
    assert echo[0].heard == b"a"
    line.close()


async def test_latency_delays_each_direction(proxy: TcpProxy) -> None:
    line = await open_line(proxy)
    proxy.latency_s = 0.1
    began_s = asyncio.get_running_loop().time()
    await line.say(b"b")
    assert await line.hear() == b"b"
    assert asyncio.get_running_loop().time() - began_s >= 0.19
    line.close()


async def test_an_abandoned_line_stays_silent_while_new_ones_pass(proxy: TcpProxy) -> None:
    line = await open_line(proxy)
    assert proxy.abandon() == 1
    await line.say(b"b")
    assert await line.is_silent()
    (await open_line(proxy)).close()
    line.close()
