"""The benchmark's room with nothing around it: what is left to Python when all else is taken away.

uvloop, one frame a room and tick, and `transport.write` of it to each player. Commands come one in
each frame; nothing is checked but the form, and nothing is kept. It is a limit to compare with, not
a server to use.

    .venv/bin/python -m scripts.bench.peers.bare_server PORT
"""

import asyncio
import json
import sys
from typing import cast

import msgspec
import uvloop
from websockets.utils import accept_key

from protocol.frames import headed
from scripts.bench.peers.plain_room import Room, beat

HEAD_END = b"\r\n\r\n"
FRAME_BYTES, MASK_AT, BODY_AT = 13, 2, 6

unpacked = msgspec.msgpack.Decoder(tuple[int, int]).decode
rooms: dict[str, Room[asyncio.Transport]] = {}


class Player(asyncio.Protocol):
    """A connection to /<room>."""

    def __init__(self) -> None:
        self.transport = asyncio.Transport()
        self.room: Room[asyncio.Transport] | None = None
        self.seat = 0
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what came: first the upgrade, then commands."""
        data = self.rest + data if self.rest else data
        if self.room is None:
            head, found, data = data.partition(HEAD_END)
            if not found:
                self.rest = head
                return
            self.room = self._entered(head)
        while len(data) >= FRAME_BYTES:
            mask = int.from_bytes(data[MASK_AT:BODY_AT] * 2, "big") >> 8
            body = int.from_bytes(data[BODY_AT:FRAME_BYTES], "big") ^ mask
            value = unpacked(body.to_bytes(FRAME_BYTES - BODY_AT, "big"))[1]
            self.room.set(self.transport, self.seat, value)
            data = data[FRAME_BYTES:]
        self.rest = data

    def _entered(self, head: bytes) -> Room[asyncio.Transport]:
        first, *lines = head.decode().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        fields = {name.lower(): value.strip() for name, _, value in pairs}
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(fields["sec-websocket-key"]).encode() + HEAD_END
        )
        room = rooms.setdefault(first.split(" ")[1], Room())
        self.seat = room.enter(self.transport)
        return room

    def connection_lost(self, error: Exception | None) -> None:
        """Leave the room."""
        if self.room is not None:
            del self.room.players[self.transport]


def tell(room: Room[asyncio.Transport]) -> None:
    """Write the tick's frame to everybody."""
    frame = headed(room.tick())
    for transport in room.players:
        transport.write(frame)


async def served(port: int) -> None:
    """Serve until somebody ends the process."""
    loop = asyncio.get_running_loop()
    await loop.create_server(Player, "127.0.0.1", port, backlog=1024)
    print(json.dumps({"event": "listening"}), flush=True)
    await beat(rooms, tell)


if __name__ == "__main__":
    uvloop.run(served(int(sys.argv[1])))
