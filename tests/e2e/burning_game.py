"""A game whose ticks take as long as its players say: how many rooms fit is known beforehand.

It looks at a clock, as no game may, but only to know how long to work; nothing that it decides
depends on it.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar

import msgspec

from gameserver.engine.commands import Command, Reason
from gameserver.engine.fields import public
from gameserver.engine.game import Game
from gameserver.engine.records import Record
from gameserver.engine.room import Room

TICKS, SUM = 2, 3  # Fields that clients look at.


class State(Record):
    """How much there is to do in each tick, how often it was done, and what players added up."""

    work_us: int = public(1, default=0)
    ticks: int = public(TICKS, default=0)
    sum: int = public(SUM, default=0)


class Burn(Command, frozen=True, tag=1):
    """Have every tick take so long, from now on."""

    work_us: Annotated[int, msgspec.Meta(ge=0, le=50_000)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Set it."""
        room.state.work_us = self.work_us


class Add(Command, frozen=True, tag=2):
    """Add one."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Add it."""
        room.state.sum += 1


class Burning(Game[State]):
    """A room that works in every tick, if it is told to."""

    name: ClassVar[str] = "burning"
    title: ClassVar[str] = "Burning"
    seats_max: ClassVar[int] = 2
    state = State
    commands: ClassVar[tuple[type[Command], ...]] = (Burn, Add)

    def due(self, room: Room[State]) -> int | None:
        """Return the next tick while there is work."""
        return room.now + 1 if room.state.work_us else None

    def pass_time(self, room: Room[State]) -> None:
        """Work."""
        room.state.ticks += 1
        until_ns = time.perf_counter_ns() + room.state.work_us * 1_000
        while time.perf_counter_ns() < until_ns:
            pass
