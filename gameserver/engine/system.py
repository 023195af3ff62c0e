"""The part of a room's state that belongs to the engine and not to the game: record 1."""

from __future__ import annotations

from gameserver.engine.dice import Dice
from gameserver.engine.fields import Visibility, part, public, secret, table
from gameserver.engine.records import Record, Table


class Seat(Record):
    """A place in the room, which outlives a lost connection."""

    account: int = public(1)
    present: bool = public(2, default=True)
    since_tick: int = public(3)


class Pending(Record, audience=Visibility.SECRET):
    """A command that waits for the verdict on its hold."""

    by_seat: int = secret(1)
    account: int = secret(2)
    number: int = secret(3)
    body: bytes = secret(4)


class Ask(Record, audience=Visibility.SECRET):
    """Something that must be chosen outside, such as a seed; it waits until it is given."""

    since_tick: int = secret(1)


class System(Record):
    """Whether the room is open, who sits in it, and what it waits for."""

    open: bool = public(1, default=True)
    holds: int = secret(2, default=0)
    wall_ms: int = secret(3, default=0)
    seats: Table[int, Seat] = table(4)
    dice: Dice = part(5)
    pending: Table[str, Pending] = table(6)
    asks: Table[str, Ask] = table(7)
