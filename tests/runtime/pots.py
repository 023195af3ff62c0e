"""A small game with one of everything that the runtime has to carry."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from gameserver.engine.commands import Command, Reason
from gameserver.engine.fields import private, public, table
from gameserver.engine.game import Game
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room

TOO_MUCH = Reason(100, "TOO_MUCH", "chips")
TABLE_CLOSED = Reason(101, "TABLE_CLOSED")
NEVER = 2**52


class Pot(Record):
    """A player's chips, and what only the player knows."""

    chips: int = public(1, default=0)
    staked: int = public(2, default=0)
    last: int = private(3, default=0)


class State(Record):
    """All pots, and when the table does something by itself."""

    total: int = public(1, default=0)
    rings_tick: int = public(2, default=NEVER)
    rings: int = public(3, default=0)
    breaks: bool = public(4, default=False)
    pots: Table[int, Pot] = table(5)


class Put(Command, frozen=True, tag=1):
    """Put chips into one's pot."""

    chips: Annotated[int, msgspec.Meta(ge=1, le=1000)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse too many."""
        return TOO_MUCH if self.chips > 10 else None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Add them."""
        pot = room.state.pots[seat]
        pot.chips += self.chips
        pot.last = self.chips
        room.state.total += self.chips


class Stake(Command, frozen=True, tag=2):
    """Stake money."""

    amount_minor: Annotated[int, msgspec.Meta(ge=1, le=10**9)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Ask for the money."""
        room.hold(self.amount_minor)
        room.state.pots[seat].staked += self.amount_minor

    def rollback(self, room: Room[Any], seat: int, reference: str) -> None:
        """Take the stake back."""
        if seat in room.state.pots:
            room.state.pots[seat].staked -= self.amount_minor


class Ring(Command, frozen=True, tag=3):
    """Have the bell ring, or the room break, some ticks from now."""

    ticks: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    breaks: bool = False

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Set the bell."""
        room.state.rings_tick = room.now + self.ticks
        room.state.breaks = self.breaks


class End(Command, frozen=True, tag=4):
    """End the room."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """End it."""
        room.end()


class Ask(Command, frozen=True, tag=5):
    """Have the room ask for something from outside."""

    what: str

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Ask."""
        room.ask(self.what)


class Pots(Game[State]):
    """Players put chips into pots."""

    name = "pots"
    title = "Pots"
    seats_max = 4
    state = State
    commands: ClassVar[tuple[type[Command], ...]] = (Put, Stake, Ring, End, Ask)
    reasons = (TOO_MUCH, TABLE_CLOSED)

    def sit(self, room: Room[State], seat: int) -> Reason | None:
        """Give the player a pot."""
        room.state.pots.add(seat, Pot(), seat=seat)
        return None

    def leave(self, room: Room[State], seat: int) -> None:
        """Take the pot away."""
        room.state.pots.remove(seat)

    def choose(self, ask: str, room_settings: msgspec.Struct, seed: bytes) -> bytes:
        """Choose anything but the moon."""
        assert ask != "moon", "nobody has it"
        return seed

    def drawn(self, room: Room[State], ask: str, data: bytes) -> None:
        """Add a chip for it, and ask for stars until there are three."""
        room.state.total += 1
        if ask == "stars" and room.state.total < 3:
            room.ask(ask)

    def due(self, room: Room[State]) -> int | None:
        """Return when the bell rings."""
        return None if room.state.rings_tick == NEVER else room.state.rings_tick

    def pass_time(self, room: Room[State]) -> None:
        """Ring the bell."""
        if room.state.breaks:
            raise RuntimeError("the bell fell down")
        room.state.rings += 1
        room.state.rings_tick = NEVER
