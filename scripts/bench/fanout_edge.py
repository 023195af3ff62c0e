"""Our edge as a server that does nothing but send: one frame to all connections, over and over.

The connections, their outboxes and their frames are the real ones; whoever says hello is let in
and shown one room. ``--way`` takes a part of that away, to see what it costs:

- ``edge``: `tell_all` of a `SharedFrame`, as a room's tick is delivered;
- ``write``: the same connections, but the prebuilt frame goes to each transport as it is;
- ``send``: it goes to each socket, past the transport; what a socket does not take is lost.

    .venv/bin/python -m scripts.bench.fanout_edge --port P --connections N [--hz 20]
        [--frame-bytes 200] [--way edge|write|send]
"""

import argparse
import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable

import uvloop

from gameserver.net.connection import Connection
from gameserver.net.edge import WHEEL_SLOT_NS, Edge, EdgeLimits
from gameserver.net.limits import Admission, AdmissionLimits
from gameserver.net.listener import Listener
from gameserver.net.outbox import OutboxLimits
from gameserver.net.server import OTHER_FILES, raise_file_limit
from gameserver.net.wheel import Wheel
from gameserver.runtime import collector
from gameserver.runtime.clock import SystemClock
from gameserver.runtime.release import WRITES_PER_TURN, tell_all
from gameserver.runtime.viewers import SharedFrame, tick_frames
from protocol import codec
from protocol.messages import AnyInbound

ROOM, HANDLE = 1, 0
WAYS = ("edge", "write", "send")
SECOND_NS = 1_000_000_000


class Everybody:
    """Lets everybody in and shows them the room; a `Receiver`."""

    def __init__(self, expected: int) -> None:
        self.complete = asyncio.Event()
        self.kept: list[socket.socket] = []
        self._expected = expected
        self.present: dict[Connection, None] = {}
        self.tick = 0

    def hello(self, connection: Connection, message: AnyInbound) -> None:
        """Welcome whoever it is."""
        account = len(self.present) + 1
        connection.welcome(account, "", codec.welcome(account, "", "", 0))
        connection.joined(ROOM)
        self.present[connection] = None
        if len(self.present) == self._expected:
            self.complete.set()

    def receive(self, connection: Connection, message: AnyInbound) -> None:
        """Ignore what is said."""

    def catch_up(self, connection: Connection, room_id: int, closed_tick: int) -> None:
        """Go on with the present for who was too slow."""
        connection.joined(ROOM)

    def drained(self, connection: Connection) -> None:
        """There is nothing else to send."""

    def lost(self, connection: Connection) -> None:
        """Forget who is gone."""
        self.present.pop(connection, None)


def edge_for(connections: int, command_rate: int = 20) -> Edge:
    """Return the surroundings of so many connections, with the server's own bounds for each."""
    clock = SystemClock()
    return Edge(
        limits=EdgeLimits(
            message_bytes_max=4096,
            command_rate=command_rate,
            command_burst=4 * command_rate,
            outbox=OutboxLimits(64 * 1024, 512 * 1024, 5 * SECOND_NS),
            hello_timeout_ns=3 * SECOND_NS,
            ping_interval_ns=10 * SECOND_NS,
            idle_timeout_ns=30 * SECOND_NS,
        ),
        admission=Admission(AdmissionLimits(connections, connections, connections, connections)),
        clock=clock,
        wheel=Wheel(clock.now_ns(), WHEEL_SLOT_NS),
        phase=lambda: 0.5,
    )


def payload_of(size: int) -> bytes:
    """Return a message of so many bytes that looks like a delta to the load client."""
    return b"\x95\x06" + bytes(size - 2)


Send = Callable[[bytes], object]


def past_the_outbox(everybody: Everybody, connection: Connection, way: str) -> Send:
    """Return what sends a frame to one connection, past what decides whether it is sent."""
    transport = connection.transport
    if way == "write":
        return transport.write
    # The transport goes on owning the file; this one never closes it.
    direct = socket.socket(fileno=transport.get_extra_info("socket").fileno())
    everybody.kept.append(direct)

    def send(frame: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            direct.send(frame)

    return send


async def beat(everybody: Everybody, payload: bytes, interval_s: float, way: str) -> None:
    """Send a frame to all, again and again; a late round does not shift later ones."""
    sends = [past_the_outbox(everybody, one, way) for one in everybody.present if way != "edge"]
    viewers = list(everybody.present) if way == "edge" else []
    count = len(everybody.present)
    due_s = time.monotonic()
    while everybody.present:
        everybody.tick += 1
        shared = SharedFrame(payload)
        for first in range(0, count, WRITES_PER_TURN):
            turn = slice(first, first + WRITES_PER_TURN)
            tell_all(ROOM, {}, viewers[turn], everybody.tick - 1, {}, shared)
            for send in sends[turn]:
                send(tick_frames(HANDLE, None, shared))
            await asyncio.sleep(0)
        due_s += interval_s
        # At saturation there is nothing to wait for, but sockets get their turn.
        await asyncio.sleep(max(due_s - time.monotonic(), 0) if interval_s else 0)


async def served(arguments: argparse.Namespace) -> None:
    """Listen, say so, and send until somebody ends the process."""
    raise_file_limit(arguments.connections + OTHER_FILES)
    everybody = Everybody(arguments.connections)
    listener = Listener(edge_for(arguments.connections), everybody, asyncio.Protocol)
    await listener.start("127.0.0.1", arguments.port)
    print(json.dumps({"event": "listening"}), flush=True)
    interval_s = 1 / arguments.hz if arguments.hz else 0.0
    async with asyncio.TaskGroup() as tasks:
        collecting = tasks.create_task(collector.run())
        await everybody.complete.wait()
        await beat(everybody, payload_of(arguments.frame_bytes), interval_s, arguments.way)
        collecting.cancel()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--hz", type=float, default=20.0)
    parser.add_argument("--frame-bytes", type=int, default=200)
    parser.add_argument("--way", choices=WAYS, default="edge")
    uvloop.run(served(parser.parse_args()))


if __name__ == "__main__":
    main()
