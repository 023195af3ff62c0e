"""The client over a real WebSocket, on a server made of the library's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from protocol.client import Client, ClientStopped, Options, dial_websocket
from protocol.client.errors import AnswerTimeout, TransportClosed
from protocol.codec import decode_inbound
from protocol.messages import SUBPROTOCOL, Bye
from tests.protocol.peer import Side, ToyServer


@asynccontextmanager
async def toy_over_sockets(server: ToyServer) -> AsyncIterator[str]:
    """Serve the toy on a port of its own."""

    async def handle(socket: ServerConnection) -> None:
        side = Side(server)
        server.sides.append(side)
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(_write(side, socket))
            try:
                async for payload in socket:
                    assert isinstance(payload, bytes)
                    side.receive(payload)
            except ConnectionClosed:
                pass
            finally:
                server.lost(side)
                writer.cancel()

    async with serve(
        handle,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
    ) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/ws"


async def _write(side: Side, socket: ServerConnection) -> None:
    try:
        while True:
            await socket.send(await side.pipe.recv())
    except TransportClosed as over:
        await socket.close(over.code if over.code != 1006 else 1011)


def options() -> Options:
    return Options(jitter=lambda top: 0.0, number_gap=lambda: 0, open_timeout_ms=5_000)


async def test_a_game_is_played_over_a_socket_that_breaks() -> None:
    server = ToyServer()
    async with (
        toy_over_sockets(server) as url,
        Client(url, name="ann", options=options()) as client,
    ):
        room = await client.join(code="ABCDEF")
        for number in range(1, 6):
            if number == 3:
                server.sides[-1].cut(4000)
            assert (await room.command([1, number])).number == number
        assert server.rooms[5].executed == [1, 2, 3, 4, 5]
        assert client.counters.closes == {4000: 1}
        assert client.counters.resumed_gapless == 1
    assert isinstance(server.seen[-1], Bye)


async def test_a_close_code_that_says_stop_arrives() -> None:
    server = ToyServer()
    async with (
        toy_over_sockets(server) as url,
        Client(url, name="ann", options=options()) as client,
    ):
        server.sides[-1].cut(4409)
        with pytest.raises(ClientStopped) as caught:
            await client.request("list")
        assert (caught.value.code, caught.value.name) == (4409, "REPLACED")


async def test_a_transport_says_that_it_is_over() -> None:
    server = ToyServer()
    async with toy_over_sockets(server) as url:
        transport = await dial_websocket(url)
        await transport.close()
        await transport.close()
        with pytest.raises(TransportClosed):
            await transport.recv()
        with pytest.raises(TransportClosed):
            await transport.send(b"\x91\x09")
        assert decode_inbound(b"\x91\x09") == Bye()


async def test_where_nobody_listens_dialling_is_an_os_error() -> None:
    async with toy_over_sockets(ToyServer()) as url:
        pass
    with pytest.raises(OSError, match=r"refused|Connect"):
        await dial_websocket(url)


async def test_a_server_that_is_no_game_server_is_an_os_error() -> None:
    async def handle(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with serve(handle, "127.0.0.1", 0, subprotocols=[Subprotocol("chat")]) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        with pytest.raises(OSError, match=r"HTTP 400|subprotocol"):
            await dial_websocket(f"ws://127.0.0.1:{port}/ws")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/ws", "hello", "ws://"])
async def test_what_is_no_address_of_a_websocket_is_told_at_once(url: str) -> None:
    with pytest.raises(ClientStopped, match=r"1002 .*URI"):
        async with Client(url, name="ann"):
            pytest.fail("there is nowhere to connect to")


async def test_who_finds_no_server_is_told_what_was_met_last() -> None:
    with pytest.raises(AnswerTimeout, match=r"no connection to ws://127.0.0.1:1/ws: .*failed"):
        async with Client("ws://127.0.0.1:1/ws", options=Options(open_timeout_ms=300)):
            pytest.fail("nobody listens there")
