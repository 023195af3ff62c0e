"""A room's whole state as canonical bytes, and back.

The same state gives the same bytes in every process, so their hash stands for the state. Field
and record numbers make stored states readable by newer code: a field that was added since takes
its default.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgpack

from gameserver.engine.game import Game
from gameserver.engine.inputs import packed
from gameserver.engine.records import Child, Record, Table
from gameserver.engine.room import Room
from gameserver.engine.window import Window

FORMAT = 1


class BadSnapshot(Exception):
    """Stored bytes are no snapshot of this game under its present rules."""


def dump(room: Room[Any]) -> bytes:
    """Return the room's state between two ticks as canonical bytes."""
    assert not room.changes.items, "A snapshot is taken between ticks."
    return packed(
        [
            FORMAT,
            room.game.name,
            room.game.rules_version,
            room.room_id,
            room.settings_bytes,
            [room.entry_tick, room.entry_number, room.shared_tick, room.changes.next_number],
            room.digest,
            [[seat, room.windows[seat].dump()] for seat in sorted(room.windows)],
            [[account, window.dump()] for account, window in room.left.items()],
            _dump(room.system),
            _dump(room.state),
        ]
    )


def state_hash(room: Room[Any]) -> bytes:
    """Return the SHA-256 of the room's canonical bytes."""
    return sha256(dump(room)).digest()


def load(game: Game[Any], data: bytes) -> Room[Any]:
    """Return the room that ``dump`` described; BadSnapshot if the bytes are not of this game."""
    try:
        parts = msgpack.unpackb(data, strict_map_key=False)
        if parts[:3] != [FORMAT, game.name, game.rules_version]:
            raise BadSnapshot(f"it is of {parts[:3]}, not {game.name} {game.rules_version}")
        return _load(game, parts[3:])
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise BadSnapshot(f"{len(data)} bytes: {error!r}") from error


def _load(game: Game[Any], parts: list[Any]) -> Room[Any]:
    room_id, settings, counters, digest, windows, left, system, state = parts
    room: Room[Any] = Room(game, room_id)
    room.set_up(settings)
    room.entry_tick, room.entry_number, room.shared_tick, next_number = counters
    room.now = room.entry_tick
    room.digest = digest
    room.windows = {seat: Window.load(dumped) for seat, dumped in windows}
    room.left = {account: Window.load(dumped) for account, dumped in left}
    _restore(room, room.system, system, None, None)
    _restore(room, room.state, state, None, None)
    room.changes.items.clear()
    room.changes.next_number = next_number
    room.seat_by_account = {room.account(seat): seat for seat in room.seats.keys_in_order()}
    room.due_tick = game.due(room) if room.is_open else None
    return room


def _dump(record: Record) -> list[Any]:
    values: list[Any] = []
    for field in record.fields:
        values += (field.number, record.__dict__[field.name])
    below: list[Any] = []
    for child in record.children:
        held = record.__dict__[child.name]
        if child.is_table:
            below += (child.number, [[one.key, _dump(one)] for one in held])
        else:
            below += (child.number, _dump(held))
    return [record.record_number, record.seat, values, below]


def _restore(
    room: Room[Any], record: Record, dumped: list[Any], parent: Record | None, home: Child | None
) -> None:
    number, seat, values, below = dumped
    by_number = {field.number: field for field in record.fields}
    state = record.__dict__
    for at in range(0, len(values), 2):
        field = by_number[values[at]]
        value = field.restore(values[at + 1])
        field.check(value)
        state[field.name] = value
    held = dict(zip(below[::2], below[1::2], strict=True))
    for child in record.children:
        if not child.is_table:
            _restore(room, state[child.name], held.pop(child.number), record, child)
    state["seat"] = seat
    record.adopt(room.changes, number, parent, home)
    for child in record.children:
        if child.is_table:
            _restore_table(room, state[child.name], held.pop(child.number, []), child)
    if held:
        raise BadSnapshot(f"{type(record).__name__} has no child {min(held)}")


def _restore_table(room: Room[Any], table: Table[Any, Any], rows: list[Any], child: Child) -> None:
    for key, dumped in rows:
        record = child.record.__new__(child.record)
        record.blank()
        record.__dict__["key"] = key
        table.keep(record)
        _restore(room, record, dumped, table.owner, child)
