"""A room's whole state as canonical bytes, and back.

The same state gives the same bytes in every process, so their hash stands for the state. Field
and record numbers make stored states readable by newer code: a field that was added since takes
its default, a table is empty. What has no place in the present code is refused, never dropped.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from gameserver.engine import window
from gameserver.engine.changes import ChangeLog
from gameserver.engine.fields import MISSING, Field
from gameserver.engine.game import Game
from gameserver.engine.inputs import DIGEST_BYTES, packed
from gameserver.engine.records import Child, Record
from gameserver.engine.room import Room
from gameserver.engine.window import Window

FORMAT = 2


class BadSnapshot(Exception):
    """Stored bytes are no snapshot of this game under its present rules."""


class _Rows(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """Records of one class: their field numbers, and of each its key, number, seat and values.

    ``below`` has for each of them, if the class has children, their rows by the child's number. A
    part is a single row with the key None.
    """

    fields: list[int]
    rows: list[tuple[Any, ...]]
    below: list[list[tuple[int, _Rows]]]


class _Stored(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A room as stored. ``counters`` are entry tick and number, shared tick, next record number."""

    format: int
    game: str
    rules_version: int
    room_id: int
    settings: bytes
    counters: tuple[int, int, int, int]
    digest: bytes
    windows: list[tuple[int, window.Stored]]
    left: list[tuple[int, window.Stored]]
    system: _Rows
    state: _Rows


_decoder = msgspec.msgpack.Decoder(_Stored)


def dump(room: Room[Any]) -> bytes:
    """Return the room's state between two ticks as canonical bytes."""
    assert not room.changes.items, "A snapshot is taken between ticks."
    stored = _Stored(
        format=FORMAT,
        game=room.game.name,
        rules_version=room.game.rules_version,
        room_id=room.room_id,
        settings=room.settings_bytes,
        counters=(room.entry_tick, room.entry_number, room.shared_tick, room.changes.next_number),
        digest=room.digest,
        windows=[(seat, held.dump()) for seat, held in sorted(room.windows.items())],
        left=[(account, held.dump()) for account, held in room.left.items()],
        system=_alone(room.system),
        state=_alone(room.state),
    )
    return packed(stored)


def state_hash(room: Room[Any]) -> bytes:
    """Return the SHA-256 of the room's canonical bytes."""
    return sha256(dump(room)).digest()


def load(game: Game[Any], data: bytes, rules_version: int | None = None) -> Room[Any]:
    """Return the room that ``dump`` described; BadSnapshot if the bytes are not of this game.

    They are of its present rules, or of the ``rules_version`` named, from which it continues.
    """
    expected = game.rules_version if rules_version is None else rules_version
    try:
        stored = _decoder.decode(data)
        of = (stored.format, stored.game, stored.rules_version)
        if of != (FORMAT, game.name, expected):
            raise ValueError(f"it is of {of}, not {game.name} {expected}")
        if not (expected == game.rules_version or game.continues_from <= expected):
            raise ValueError(f"{game.name} {game.rules_version} does not continue {expected}")
        return _load(game, stored)
    except Exception as error:  # Whatever a decoder or a game may think of damaged bytes.
        raise BadSnapshot(f"{len(data)} bytes: {error!r}") from error


def _load(game: Game[Any], stored: _Stored) -> Room[Any]:
    room: Room[Any] = Room(game, stored.room_id)
    room.set_up(stored.settings)
    room.entry_tick, room.entry_number, room.shared_tick, next_number = stored.counters
    room.now = room.entry_tick
    room.digest = stored.digest
    room.windows = {seat: Window.load(held) for seat, held in stored.windows}
    room.left = {account: Window.load(held) for account, held in stored.left}
    restoring = _Restoring(room.changes)
    restoring.alone(room.system, stored.system)
    restoring.alone(room.state, stored.state)
    room.changes.next_number = next_number
    seats = room.seats.keys_in_order()
    room.seat_by_account = {room.account(seat): seat for seat in seats}
    if seats != list(room.windows) or len(seats) != len(room.seat_by_account):
        raise ValueError("seats, accounts and their windows do not match")
    if len(stored.digest) != DIGEST_BYTES or max(restoring.numbers) >= next_number:
        raise ValueError("a digest or a record number that cannot be")
    room.due_tick = room.next_due()
    return room


def _alone(record: Record) -> _Rows:
    """Return the row of a root or a part, and all below it."""
    return _rows(type(record), [{"key": None, "seat": record.seat} | record.__dict__])


def _rows(kind: type[Record], states: list[dict[str, Any]]) -> _Rows:
    below = [_below(kind, state) for state in states] if kind.children else []
    return _Rows([field.number for field in kind.fields], list(map(kind.row_of, states)), below)


def _below(kind: type[Record], state: dict[str, Any]) -> list[tuple[int, _Rows]]:
    below = []
    for child in kind.children:
        held = state[child.name]
        if child.is_table:
            rows = _rows(child.record, [record.__dict__ for record in held])
        else:
            rows = _alone(held)
        below.append((child.number, rows))
    return below


class _Restoring:
    """Fills a room's records from their rows; ``numbers`` are those that are there by now."""

    def __init__(self, changes: ChangeLog) -> None:
        self.numbers: set[int] = set()
        self._changes = changes

    def alone(self, record: Record, stored: _Rows) -> None:
        """Fill a root or a part, which is in its place already, and all below it."""
        ((key, *_),) = stored.rows
        if key is not None:
            raise ValueError(f"{type(record).__name__} has no key")
        self._fill([record], stored)

    def _table(self, parent: Record, child: Child, stored: _Rows) -> None:
        records = []
        for key, *_ in stored.rows:
            child.check_key(key)
            record = child.record.__new__(child.record)
            record.blank()
            record.__dict__.update(key=key, parent=parent, home=child)
            records.append(record)
        self._fill(records, stored)
        if len(parent.__dict__[child.name]) != len(records):
            raise ValueError(f"{child.name}: a key is there twice")

    def _fill(self, records: list[Record], stored: _Rows) -> None:
        if not records:
            return
        kind = type(records[0])
        fields = _stored_fields(kind, stored.fields)
        for record, (_, number, seat, *values) in zip(records, stored.rows, strict=True):
            state = record.__dict__
            for field, plain in zip(fields, values, strict=True):
                value = field.restore(plain)
                field.check(value)
                state[field.name] = value
            self._place(record, number, seat)
        if kind.children or stored.below:
            # There are none if the class had no children then.
            belows = stored.below or [[] for _ in records]
            for record, below in zip(records, belows, strict=True):
                self._fill_below(record, dict(below))

    def _place(self, record: Record, number: Any, seat: Any) -> None:
        if type(number) is not int or number in self.numbers or number < 1:
            raise ValueError(f"record number {number} is taken, or none")
        if type(seat) is not int:
            raise ValueError(f"{seat} is no seat")
        self.numbers.add(number)
        record.__dict__["seat"] = seat
        record.note_place(self._changes, number, record.parent, record.home)
        record.remake()

    def _fill_below(self, record: Record, below: dict[int, _Rows]) -> None:
        for child in record.children:
            if not child.is_table:
                held = record.__dict__[child.name]
                held.__dict__.update(parent=record, home=child)
                self.alone(held, below.pop(child.number))
            elif child.number in below:
                self._table(record, child, below.pop(child.number))
        if below:
            raise ValueError(f"{type(record).__name__} has no child {min(below)}")


def _stored_fields(kind: type[Record], numbers: list[int]) -> list[Field]:
    """Return the fields of these numbers; those that were added since have a default."""
    by_number = {field.number: field for field in kind.fields}
    fields = [by_number.pop(number) for number in numbers]
    if any(field.default is MISSING for field in by_number.values()):
        raise ValueError(f"{kind.__name__}: a field without default is missing")
    return fields
