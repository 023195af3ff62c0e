"""The state of the toy game: a record of every kind of visibility, in tables, in tables, in parts.

Each value that is not for everybody is to be a mark, a text that occurs once in a room's life, and
so is each key of a record that not everybody sees: whoever finds a mark knows what it tells.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from gameserver.engine.fields import Visibility, part, private, public, secret, table
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room


class Mood(IntEnum):
    """A value that is an enum."""

    CALM = 0
    CROSS = 1


class Lamp(Record):
    """A part; its private field is for the seat of the record above."""

    lit: bool = public(1, default=False)
    oil: str = private(2, default="")
    wick: str = secret(3, default="")


class Item(Record):
    """Something everybody sees, with a side for its seat and one for nobody."""

    name: str = public(1)
    note: str = private(2)
    core: str = secret(3)


class Diary(Record, audience=Visibility.PRIVATE):
    """Something for its seat alone."""

    title: str = public(1)
    page: str = private(2)
    ink: str = secret(3)


class Vault(Record, audience=Visibility.SECRET):
    """Something for nobody, whatever its fields say."""

    door: str = public(1)
    lock: str = private(2)
    gold: str = secret(3)


class Card(Record):
    """Something for those seats whose bits are set."""

    face: str = public(1)
    back: str = private(2)
    core: str = secret(3)
    seen_by: int = public(4)


class Shelf(Record):
    """A record with a part and with tables of other kinds of record."""

    label: str = public(1)
    price: str = private(2)
    lamp: Lamp = part(3)
    items: Table[int, Item] = table(4)
    diaries: Table[str, Diary] = table(5)
    cards: Table[str, Card] = table(6)


class Stall(Record):
    """A table in a table."""

    shelves: Table[int, Shelf] = table(1)


class Purchase(Record, audience=Visibility.PRIVATE):
    """What a hold was asked for."""

    price_minor: int = private(1)
    stands: bool = private(2, default=False)


class Toy(Record):
    """A root with a field of every type."""

    number: int = public(1, default=0)
    flag: bool = public(2, default=False)
    text: str = public(3, default="")
    data: bytes = public(4, default=b"")
    mood: Mood = public(5, default=Mood.CALM)
    pairs: tuple[tuple[int, str], ...] = public(6, default=())
    bell_tick: int = public(7, default=0)
    marks: int = secret(8, default=0)
    riddle: str = secret(9, default="")
    spent_minor: int = secret(10, default=0)
    lamp: Lamp = part(11)
    stalls: Table[int, Stall] = table(12)
    cards: Table[str, Card] = table(13)
    diaries: Table[str, Diary] = table(14)
    vaults: Table[str, Vault] = table(15)
    purchases: Table[str, Purchase] = table(16)


def mark(room: Room[Any]) -> str:
    """Return a text that has never been in this room."""
    room.state.marks += 1
    return f"~{room.state.marks}~"
