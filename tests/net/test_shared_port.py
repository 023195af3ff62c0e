"""One port for several servers of a machine, besides one that each has for itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from gameserver.net.listener import PortInUse, check_free, reserved_port
from protocol.messages import Ping, ServerPong
from tests.net.rig import Rig, free_port, upgrade_request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="others do not spread players")

HOST = "127.0.0.1"
PLAYERS = 20  # With two servers all of them come to the same one once in half a million times.


@asynccontextmanager
async def sharing(count: int) -> AsyncIterator[tuple[int, list[Rig]]]:
    """Give servers that share a port, and the port."""
    holder, port = await reserved_port(HOST, 0)
    rigs = [Rig(port=port, worker_port=free_port()) for _ in range(count)]
    try:
        for rig in rigs:
            await rig.__aenter__()
            await rig.server.share()
        yield port, rigs
    finally:
        for rig in rigs:
            await rig.__aexit__()
        holder.close()


async def come(port: int) -> None:
    """Let players come to a port."""
    for _ in range(PLAYERS):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(upgrade_request())
        async with asyncio.timeout(5):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.close()


def accepted(rigs: list[Rig]) -> list[int]:
    """How many players came to each server."""
    return [rig.server.edge.counters.handshakes_accepted for rig in rigs]


async def test_players_who_come_to_the_shared_port_are_spread_over_all_who_share_it() -> None:
    async with sharing(2) as (port, rigs):
        await come(port)
        assert sum(accepted(rigs)) == PLAYERS
        assert min(accepted(rigs)) > 0
        before = accepted(rigs)
        await come(rigs[0].server.port)
        assert accepted(rigs) == [before[0] + PLAYERS, before[1]], "its own port is its own"


async def test_who_leaves_the_shared_port_keeps_those_who_came_by_it_and_gets_no_more() -> None:
    async with sharing(1) as (port, (rig,)):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(upgrade_request())
        await reader.readuntil(b"\r\n\r\n")
        own = await rig.player()
        rig.server.leave_shared()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, port)
        assert rig.server.connections == 2
        own.send(Ping(7))
        assert isinstance(await own.message(), ServerPong)
        writer.close()


async def test_a_server_is_ready_when_it_has_the_shared_port() -> None:
    holder, port = await reserved_port(HOST, 0)
    async with Rig(port=port, worker_port=free_port(), admin_port=free_port()) as rig:
        url = f"http://{HOST}:{rig.server.admin_port}/readyz"
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as response:
                assert (response.status, await response.text()) == (503, "not ready: starting\n")
            await rig.server.share()
            async with session.get(url) as response:
                assert response.status == 200
    holder.close()


async def test_a_reserved_port_is_nobody_elses_and_lets_nobody_in_by_itself() -> None:
    holder, port = await reserved_port(HOST, 0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)
    with pytest.raises(PortInUse):
        await check_free(HOST, port)
    await check_free(HOST, port, shared=True)
    holder.close()
    await check_free(HOST, port)
