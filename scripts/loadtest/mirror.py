"""A room as its frames tell it, kept by a second reading of the protocol's rules.

It takes messages as msgpack alone gives them (tuples of plain values) and shares no code with the
protocol package, so that a mistake there is not made here too. It knows numbers, not names.

    Exception
      MirrorBroken     a frame speaks of a record that is not there
"""

from typing import Any

import msgpack

ROOM = 1
GAME = 2
NEVER = -1

DIFFERENCES_MAX = 5

Message = tuple[Any, ...]
Place = tuple[int, int, Any]
Row = tuple[int, Place | None, tuple[tuple[int, Any], ...]]


class MirrorBroken(Exception):
    """A frame speaks of a record that is not there, or cannot be read."""


class Mirror:
    """Records, places and ticks of one room. It is empty until the first full state."""

    __slots__ = ("closed_tick", "places", "private_tick", "records", "shared_tick")

    def __init__(self) -> None:
        self.records: dict[int, dict[int, Any]] = {}
        self.places: dict[int, Place] = {}
        self.shared_tick = NEVER
        self.private_tick = NEVER
        self.closed_tick = NEVER

    def take_full(self, message: Message) -> None:
        """Begin anew from (5, room, tick, public changes, private changes)."""
        tick = message[2]
        self.records = {ROOM: {}, GAME: {}}
        self.places = {}
        self.change(message[3])
        self.change(message[4])
        self.shared_tick = self.private_tick = self.closed_tick = tick

    def take_delta(self, message: Message) -> bool:
        """Take (6, handle, tick, step, changes) in; tell whether it builds on what is here."""
        tick = message[2]
        if tick <= self.shared_tick:
            return True
        if tick - message[3] > self.shared_tick:
            return False
        self.change(message[4])
        self.shared_tick = self.closed_tick = tick
        return True

    def take_private(self, message: Message) -> bool:
        """Take (7, handle, tick, step, changes, outcomes, more) in, likewise."""
        tick = message[2]
        if tick <= self.private_tick:
            return True
        if tick - message[3] > self.private_tick:
            return False
        self.change(message[4])
        self.private_tick = tick
        if not message[6]:
            self.closed_tick = tick
        return True

    def change(self, changes: tuple[Any, ...]) -> None:
        """Apply a flat list: record, field, value, and again. Field 0 is the record itself."""
        records = self.records
        if len(changes) % 3:
            raise MirrorBroken(f"{len(changes)} elements are no list of changes")
        for at in range(0, len(changes), 3):
            number, field, value = changes[at : at + 3]
            if field:
                fields = records.get(number)
                if fields is None:
                    raise MirrorBroken(f"field {field} of record {number}, which is not there")
                fields[field] = value
            elif value is None:
                records.pop(number, None)
                self.places.pop(number, None)
            elif number not in records:
                records[number] = {}
                self.places[number] = value

    def rows(self) -> tuple[Row, ...]:
        """Return everything in one fixed order."""
        return tuple(
            (number, self.places.get(number), tuple(sorted(self.records[number].items())))
            for number in sorted(self.records)
        )


def differences(ours: tuple[Row, ...], theirs: tuple[Row, ...]) -> list[str]:
    """Say how two states differ, a line for each difference, the first few of them.

    True is not 1 here: the bytes are compared.
    """
    if _packed(ours) == _packed(theirs):
        return []
    found: list[str] = []
    left, right = ({row[0]: row[1:] for row in rows} for rows in (ours, theirs))
    for number in sorted(left.keys() | right.keys()):
        if number not in left or number not in right:
            whose = "theirs" if number in right else "ours"
            found.append(f"record {number} is only in {whose}")
        elif _packed(left[number]) != _packed(right[number]):
            found += _in_record(number, left[number], right[number])
    return found[:DIFFERENCES_MAX]


def _in_record(number: int, ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> list[str]:
    found = []
    if _packed(ours[0]) != _packed(theirs[0]):
        found.append(f"record {number} hangs at {ours[0]}, not {theirs[0]}")
    left, right = dict(ours[1]), dict(theirs[1])
    for field in sorted(left.keys() | right.keys()):
        values = left.get(field, "nothing"), right.get(field, "nothing")
        if _packed(values[0]) != _packed(values[1]):
            found.append(f"record {number} field {field} is {values[0]!r}, not {values[1]!r}")
    return found


def _packed(value: object) -> bytes:
    return msgpack.packb(value)
