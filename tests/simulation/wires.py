"""The links between nodes: plain byte streams between their real ends, `gameserver.net.peers`.

They go over a network of their own, so that what happens to players' connections does not happen to
these. A wire that is cut is silent, as after a cable was pulled; only the end of a process, or a
reset, is seen by the other side.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from tests.simulation.loop import Process, SimLoop
from tests.simulation.network import Link, Network, ProtocolFactory, Way


class Wires(Network):
    """All links between nodes. A link's client is the node that made it."""

    def __init__(self, loop: SimLoop, chance: Random) -> None:
        super().__init__(loop, chance)
        loop.connect = self.connect

    async def connect(
        self, factory: ProtocolFactory, process: Process, address: str
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect as `loop.create_connection` does; raises OSError."""
        link, serving = await self.link(process, address)
        near = WireEnd(self, link, link.up, address)
        far = WireEnd(self, link, link.down, process.name)
        link.up.reader, link.down.reader = far, near
        link.server.context.run(self.loop.call_soon, far.open, serving)
        near.open(factory)
        assert near.protocol is not None, "It was just opened."
        return near, near.protocol


class WireEnd(asyncio.Transport):
    """One end of a wire, whose bytes go out by ``out``."""

    protocol: asyncio.Protocol | None = None  # As long as whoever is dialled has not looked.

    def __init__(self, wires: Wires, link: Link, out: Way, peer: str) -> None:
        super().__init__()
        self._wires = wires
        self._link = link
        self._out = out
        self._peer = peer
        self._is_closing = False
        self._is_lost = False

    def open(self, factory: ProtocolFactory) -> None:
        """Meet the protocol that has this end."""
        if self._is_lost:
            return
        protocol = factory()
        assert isinstance(protocol, asyncio.Protocol), "Nodes talk over plain streams."
        self.protocol = protocol
        protocol.connection_made(self)

    # --- What the way to here tells.

    def take(self, data: bytes) -> None:
        """Hand bytes to the protocol."""
        if not self._is_closing and self.protocol is not None:
            self.protocol.data_received(data)

    def end(self, *, reset: bool) -> None:
        """The other side closed, or the network broke."""
        self._lose(ConnectionResetError("reset") if reset else None)

    def _lose(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = self._is_closing = True
            self._out.finish()
            self._wires.over(self._link)
            if self.protocol is not None:
                self.protocol.connection_lost(error)

    # --- What the protocol asks.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        if not self._is_closing:
            self._out.send(bytes(data))

    def get_write_buffer_size(self) -> int:
        """Return what waits to be sent."""
        return self._out.unread_bytes

    def abort(self) -> None:
        """Close at once."""
        if not self._is_closing:
            self._is_closing = True
            self._wires.loop.call_soon(self._lose, None)

    def close(self) -> None:
        """Send what waits, and close."""
        self.abort()  # What was sent is on its way.

    def is_closing(self) -> bool:
        """Tell whether nothing more is sent."""
        return self._is_closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There are none."""

    def pause_reading(self) -> None:
        """Nodes of a simulation never say too much."""
        raise AssertionError("A node was flooded.")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Say where the other side is."""
        return (self._peer, 1) if name == "peername" else default
