"""The lean WebSocket speaks with the library's server, and with one that cuts frames anywhere."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from protocol.client import TransportClosed
from protocol.messages import SUBPROTOCOL
from scripts.loadtest.wire import ACCEPT_SALT, Wire, dial_lean

Handler = Callable[[ServerConnection], Awaitable[None]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def library(handler: Handler) -> AsyncIterator[Wire]:
    """Connect to the library's server, which answers by ``handler``."""
    subprotocols = [Subprotocol(SUBPROTOCOL)]
    async with serve(handler, "127.0.0.1", 0, subprotocols=subprotocols, compression=None) as made:
        port = next(iter(made.sockets)).getsockname()[1]
        wire = await dial_lean(f"ws://127.0.0.1:{port}/ws")
        try:
            yield wire
        finally:
            await wire.close()


@asynccontextmanager
async def by_hand(talk: Talk, answer: Callable[[bytes], bytes] | None = None) -> AsyncIterator[str]:
    """Serve bytes that are written by hand after the upgrade; give the URL."""

    ended = asyncio.Event()

    async def talked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write((answer or upgraded)(head))
            await talk(reader, writer)
        except ConnectionError:
            pass  # The client was quicker.
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            ended.set()

    server = await asyncio.start_server(talked, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
        await ended.wait()


def upgraded(head: bytes) -> bytes:
    key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    accept = base64.b64encode(hashlib.sha1(key + ACCEPT_SALT).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"sec-websocket-accept: %s\r\nSec-WebSocket-Protocol: gs.v1\r\n\r\n" % accept
    )


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 4096])
async def test_messages_go_both_ways_whole(size: int) -> None:
    async with library(echo) as wire:
        payload = bytes(at % 251 for at in range(size))
        await wire.send(payload)
        assert await wire.recv() == payload


@pytest.mark.parametrize("size", [65_535, 65_536, 1_000_000])
async def test_large_messages_arrive(size: int) -> None:
    async def send_large(socket: ServerConnection) -> None:
        await socket.send(b"x" * size)

    async with library(send_large) as wire:
        assert len(await wire.recv()) == size


async def test_messages_in_parts_are_put_together_and_pings_are_answered() -> None:
    async def send_parts(socket: ServerConnection) -> None:
        pong = await socket.ping(b"there?")
        await socket.send([b"one ", b"two ", b"three"])
        await pong
        await socket.send(b"answered")

    async with library(send_parts) as wire:
        assert await wire.recv() == b"one two three"
        assert await wire.recv() == b"answered"


async def test_a_close_gives_its_code_after_what_came_before() -> None:
    async def say_and_close(socket: ServerConnection) -> None:
        await socket.send(b"last")
        await socket.close(4000, "draining")

    async with library(say_and_close) as wire:
        assert await wire.recv() == b"last"
        with pytest.raises(TransportClosed) as closed:
            await wire.recv()
        assert (closed.value.code, closed.value.reason) == (4000, "draining")
        with pytest.raises(TransportClosed):
            await wire.send(b"too late")


async def test_closing_tells_the_server_1000() -> None:
    codes: list[int] = []
    ended = asyncio.Event()

    async def listen(socket: ServerConnection) -> None:
        try:
            await socket.recv()
        except ConnectionClosed as error:
            codes.append(0 if error.rcvd is None else error.rcvd.code)
            ended.set()

    async with library(listen) as wire:
        await wire.close()
        await wire.close()
        await ended.wait()
    assert codes == [1000]


async def test_a_connection_that_breaks_is_1006() -> None:
    async def break_off(socket: ServerConnection) -> None:
        socket.transport.abort()

    async with library(break_off) as wire:
        with pytest.raises(TransportClosed) as closed:
            await wire.recv()
        assert closed.value.code == 1006


async def test_frames_may_be_cut_anywhere() -> None:
    stream = b"".join(
        (
            b"\x82\x03one",
            b"\x82\x7e\x01\x00" + b"x" * 256,
            b"\x02\x02tw\x89\x01?\x80\x01o",
            b"\x82\x7f" + (300).to_bytes(8, "big") + b"y" * 300,
        )
    )

    async def send_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(len(stream)):
            writer.write(stream[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async with by_hand(send_bytes) as url:
        wire = await dial_lean(url)
        messages = [await wire.recv() for _ in range(4)]
        assert messages == [b"one", b"x" * 256, b"two", b"y" * 300]
        wire.abort()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x82\x81\x00\x00\x00\x00x", 1002),  # Masked.
        (b"\xc2\x01x", 1002),  # Compressed.
        (b"\x81\x01x", 1002),  # Text.
        (b"\x80\x01x", 1002),  # The rest of nothing.
        (b"\x02\x01x\x82\x01y", 1002),  # A new message within another.
        (b"\x09\x01x", 1002),  # A ping in parts.
        (b"\x82\x7f\x00\x00\x00\xff\x00\x00\x00\x00", 1009),
    ],
)
async def test_a_server_that_breaks_the_rules_is_left(frame: bytes, code: int) -> None:
    async def send_frame(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame)
        await reader.read()

    async with by_hand(send_frame) as url:
        wire = await dial_lean(url)
        with pytest.raises(TransportClosed) as closed:
            await wire.recv()
        assert closed.value.code == code


@pytest.mark.parametrize(
    "answer",
    [
        lambda head: b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        lambda head: upgraded(b"Sec-WebSocket-Key: another\r\n"),
        lambda head: upgraded(head).replace(b"gs.v1", b"gs.v9"),
        lambda head: b"",
        lambda head: b"x" * 20_000,
    ],
)
async def test_what_is_no_upgrade_is_an_os_error(answer: Callable[[bytes], bytes]) -> None:
    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.drain()

    async with by_hand(end, answer) as url:
        with pytest.raises(ConnectionError):
            await dial_lean(url)


async def test_nobody_there_is_an_os_error() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await dial_lean(f"ws://127.0.0.1:{port}/ws")
