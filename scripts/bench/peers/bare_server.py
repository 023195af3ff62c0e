"""The benchmark's room with nothing around it: what is left to Python when all else is taken away.

uvloop, one frame a room and tick, and `transport.write` of it to each player. Commands are those of
`ws_server.mjs`, one in each frame; nothing is checked but the form, and nothing is kept. It is a
limit to compare with, not a server to use.

    .venv/bin/python -m scripts.bench.peers.bare_server PORT
"""

import asyncio
import base64
import hashlib
import json
import sys
import time
from typing import cast

import msgspec
import uvloop

TICK_S = 0.05
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3.
FRAME_BYTES, MASK_AT, BODY_AT = 13, 2, 6
FIELDS = 8

packed = msgspec.msgpack.Encoder().encode
unpacked = msgspec.msgpack.Decoder(tuple[int, int]).decode


class Room:
    """Who plays there, and what has changed."""

    def __init__(self) -> None:
        self.transports: list[asyncio.Transport] = []
        self.players: list[list[int]] = []
        self.changes: dict[int, int] = {}
        self.beat = 0

    def tick(self) -> None:
        """Tell everybody what has changed."""
        self.beat += 1
        delta = [self.beat]
        for seat, value in self.changes.items():
            delta += (seat, 1, value)
        self.changes.clear()
        payload = packed(delta)
        size = len(payload)
        head = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
        frame = b"\x82" + head + payload
        for transport in self.transports:
            transport.write(frame)


rooms: dict[bytes, Room] = {}


class Player(asyncio.Protocol):
    """A connection to /<room>."""

    def __init__(self) -> None:
        self.transport = asyncio.Transport()
        self.room: Room | None = None
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what came: first the upgrade, then commands."""
        data = self.rest + data if self.rest else data
        if self.room is None:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self.rest = head
                return
            self._enter(head)
        while len(data) >= FRAME_BYTES:
            mask = int.from_bytes(data[MASK_AT:BODY_AT] * 2, "big") >> 8
            body = int.from_bytes(data[BODY_AT:FRAME_BYTES], "big") ^ mask
            self._set(unpacked(body.to_bytes(FRAME_BYTES - BODY_AT, "big"))[1])
            data = data[FRAME_BYTES:]
        self.rest = data

    def _enter(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        fields = {name.lower(): value.strip() for name, _, value in pairs}
        accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + GUID).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.room = rooms.setdefault(first.split(b" ")[1], Room())
        self.seat = len(self.room.players)
        self.room.players.append([0] * FIELDS)
        self.room.transports.append(self.transport)

    def _set(self, value: int) -> None:
        assert self.room is not None
        self.room.players[self.seat][0] = self.room.changes[self.seat] = value

    def connection_lost(self, error: Exception | None) -> None:
        """Leave the room."""
        if self.room is not None:
            self.room.transports.remove(self.transport)


async def served(port: int) -> None:
    """Serve until somebody ends the process; a late tick does not shift later ones."""
    loop = asyncio.get_running_loop()
    await loop.create_server(Player, "127.0.0.1", port, backlog=1024)
    print(json.dumps({"event": "listening"}), flush=True)
    due_s = time.monotonic()
    while True:
        for room in tuple(rooms.values()):
            room.tick()
        due_s = max(due_s + TICK_S, time.monotonic() - TICK_S)
        await asyncio.sleep(max(due_s - time.monotonic(), 0))


if __name__ == "__main__":
    uvloop.run(served(int(sys.argv[1])))
