"""The benchmark's room on websockets' asyncio server and its broadcast(), on uvloop.

A connection to /<room> plays there. Nothing is checked but the form, and nothing is kept.

    .venv/bin/python -m scripts.bench.peers.websockets_server PORT
"""

import json
import sys

import msgpack
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from scripts.bench.peers.plain_room import Room, beat

COMMAND_BYTES = 7

rooms: dict[str, Room[ServerConnection]] = {}


async def played(connection: ServerConnection) -> None:
    """Take a player's commands until the player is gone."""
    assert connection.request is not None, "the handshake is over"
    path = connection.request.path
    room = rooms.setdefault(path, Room())
    seat = room.enter(connection)
    try:
        async for data in connection:
            if isinstance(data, bytes) and len(data) == COMMAND_BYTES:
                room.set(connection, seat, msgpack.unpackb(data)[1])
    finally:
        del room.players[connection]
        if not room.players:
            rooms.pop(path, None)


def tell(room: Room[ServerConnection]) -> None:
    """Broadcast the tick."""
    broadcast(room.players, room.tick())


async def served(port: int) -> None:
    """Serve until somebody ends the process."""
    async with serve(played, "127.0.0.1", port, compression=None, max_size=4096, backlog=1024):
        print(json.dumps({"event": "listening"}), flush=True)
        await beat(rooms, tell)


if __name__ == "__main__":
    uvloop.run(served(int(sys.argv[1])))
