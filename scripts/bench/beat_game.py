"""The game of the benchmark of rooms: something changes in every tick, players set fields.

The peers' servers under `scripts/bench/peers` do the same. Nothing is hidden, nothing is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from gameserver.engine.commands import Command, Reason
from gameserver.engine.fields import public, table
from gameserver.engine.game import Game
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room

VALUE_MAX = 2**32 - 1
TICKS_S = 20


class Player(Record):
    """Eight fields that everybody sees, of which players change one."""

    value: int = public(1, default=0)
    x: int = public(2, default=0)
    y: int = public(3, default=0)
    angle: int = public(4, default=0)
    health: int = public(5, default=100)
    score: int = public(6, default=0)
    team: int = public(7, default=0)
    level: int = public(8, default=0)


class State(Record):
    """The beat, and who plays."""

    beat: int = public(1, default=0)
    present: int = public(2, default=0)
    players: Table[int, Player] = table(3)


class Set(Command, frozen=True, tag=1):
    """Change the player's one field."""

    value: Annotated[int, msgspec.Meta(ge=0, le=VALUE_MAX)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Let everything pass; that the value is in its bounds has been seen."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Set it."""
        room.state.players[seat].value = self.value


class Beat(Game[State]):
    """A room that changes in every tick while anybody is there."""

    name: ClassVar[str] = "bench10"
    title: ClassVar[str] = "Bench"
    seats_max: ClassVar[int] = 10
    state = State
    commands: ClassVar[tuple[type[Command], ...]] = (Set,)

    def sit(self, room: Room[State], seat: int) -> Reason | None:
        """Take a player in."""
        room.state.players.add(seat, Player(), seat=seat)
        room.state.present += 1
        return None

    def leave(self, room: Room[State], seat: int) -> None:
        """Let a player go."""
        room.state.players.remove(seat)
        room.state.present -= 1

    def lose(self, room: Room[State], seat: int) -> None:
        """Count who is there."""
        room.state.present -= 1

    def regain(self, room: Room[State], seat: int) -> None:
        """Count who is there."""
        room.state.present += 1

    def due(self, room: Room[State]) -> int | None:
        """Return the next tick, but for an empty room."""
        return room.now + 1 if room.state.present else None

    def pass_time(self, room: Room[State]) -> None:
        """Beat."""
        room.state.beat += 1


class Calm(Beat):
    """The same, but for a beat that is a second: three times as many fit on a core."""

    name: ClassVar[str] = "bench10calm"

    def due(self, room: Room[State]) -> int | None:
        """Return the next whole second, but for an empty room."""
        return room.now - room.now % TICKS_S + TICKS_S if room.state.present else None


class Beat50(Beat):
    """The same with fifty seats."""

    name: ClassVar[str] = "bench50"
    seats_max: ClassVar[int] = 50
