"""Our edge as a server that does nothing but take commands.

Connections, sessions and limits are the real ones; each command is decoded, validated by its
type, and put into its room's inbox as the room host does it. Twenty times a second the inboxes
are emptied, and nothing ticks.

    .venv/bin/python -m scripts.bench.inbound_edge --port P --connections N
"""

import argparse
import asyncio
import json
from typing import Annotated, Any, ClassVar

import msgspec
import uvloop

from gameserver.engine import inputs as i
from gameserver.engine.commands import Command, Reason
from gameserver.engine.fields import public
from gameserver.engine.game import Game
from gameserver.engine.inbox import Inbox
from gameserver.engine.records import Record
from gameserver.engine.room import Room
from gameserver.engine.window import body_digest
from gameserver.net.connection import Connection
from gameserver.net.listener import Listener
from gameserver.net.server import OTHER_FILES, raise_file_limit
from gameserver.runtime import collector
from gameserver.runtime.reading import Unreadable, read
from protocol.messages import AnyInbound
from protocol.messages import Command as CommandMessage
from scripts.bench.fanout_edge import Everybody, edge_for

SEATS = 10
TICK_S = 0.05
COMMANDS_EACH_S = 1_000  # Nobody is to be held back by the limit on commands.


class State(Record):
    """Nothing but a field."""

    turn: int = public(1, default=0)


class Act(Command, frozen=True, tag=1):
    """A command of 40 bytes on the wire."""

    value: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
    note: Annotated[bytes, msgspec.Meta(max_length=16)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Let everything pass."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Do nothing: no room ticks here."""


class Acts(Game[State]):
    """A game whose commands are only read."""

    name: ClassVar[str] = "acts"
    title: ClassVar[str] = "Acts"
    seats_max: ClassVar[int] = SEATS
    state = State
    commands: ClassVar[tuple[type[Command], ...]] = (Act,)


class Taker(Everybody):
    """Takes commands as the dispatcher and the room host do."""

    def __init__(self, expected: int) -> None:
        super().__init__(expected)
        self.room: Room[Any] = Room(Acts(), 1)
        self.inboxes = [Inbox() for _ in range(expected // SEATS + 1)]

    def receive(self, connection: Connection, message: AnyInbound) -> None:
        """Take one message."""
        if not isinstance(message, CommandMessage):
            return
        clock = connection._edge.clock
        assert not connection.commands.take(connection.heard_ns), "Nobody is held back."
        body = bytes(message.body)
        command = read(self.room, body)
        assert not isinstance(command, Unreadable), command
        number, seat = divmod(connection.account, SEATS)
        arrival_ms = clock.wall_ms()
        taken = i.Commanded(seat, message.number, arrival_ms, body, body_digest(body), command)
        self.inboxes[number].submit(taken)


async def served(port: int, connections: int) -> None:
    """Listen, say so, and take commands until somebody ends the process."""
    raise_file_limit(connections + OTHER_FILES)
    taker = Taker(connections)
    edge = edge_for(connections, COMMANDS_EACH_S)
    await Listener(edge, taker, asyncio.Protocol).start("127.0.0.1", port)
    print(json.dumps({"event": "listening"}), flush=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(collector.run())
        while True:
            await asyncio.sleep(TICK_S)
            for inbox in taker.inboxes:
                if inbox:
                    inbox.take()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    arguments = parser.parse_args()
    uvloop.run(served(arguments.port, arguments.connections))


if __name__ == "__main__":
    main()
