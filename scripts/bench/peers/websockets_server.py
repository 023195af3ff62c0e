"""The benchmark's room on websockets' asyncio server and its broadcast(), on uvloop.

A connection to /<room> plays there. Commands and deltas are those of `ws_server.mjs`; nothing is
checked but the form, and nothing is kept.

    .venv/bin/python -m scripts.bench.peers.websockets_server PORT
"""

import asyncio
import json
import sys
import time

import msgpack
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

TICK_S = 0.05
COMMAND_BYTES = 7
FIELDS = 8


class Room:
    """Who plays there, and what has changed."""

    def __init__(self) -> None:
        self.connections: set[ServerConnection] = set()
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
        broadcast(self.connections, msgpack.packb(delta))


class Rooms:
    """All rooms of the process."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}

    async def played(self, connection: ServerConnection) -> None:
        """Take a player's commands until the player is gone."""
        assert connection.request is not None, "the handshake is over"
        path = connection.request.path
        room = self.rooms.setdefault(path, Room())
        seat, player = len(room.players), [0] * FIELDS
        room.players.append(player)
        room.connections.add(connection)
        try:
            async for data in connection:
                if isinstance(data, bytes) and len(data) == COMMAND_BYTES:
                    _, player[0] = msgpack.unpackb(data)
                    room.changes[seat] = player[0]
        finally:
            room.connections.discard(connection)
            if not room.connections:
                self.rooms.pop(path, None)

    async def beat(self) -> None:
        """Tick all rooms, again and again; a late tick does not shift later ones."""
        due_s = time.monotonic()
        while True:
            for room in tuple(self.rooms.values()):
                room.tick()
            due_s = max(due_s + TICK_S, time.monotonic() - TICK_S)
            await asyncio.sleep(max(due_s - time.monotonic(), 0))


async def served(port: int) -> None:
    """Serve until somebody ends the process."""
    rooms = Rooms()
    async with serve(
        rooms.played, "127.0.0.1", port, compression=None, max_size=4096, backlog=1024
    ):
        print(json.dumps({"event": "listening"}), flush=True)
        await rooms.beat()


if __name__ == "__main__":
    uvloop.run(served(int(sys.argv[1])))
