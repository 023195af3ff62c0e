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
from gameserver.engine.fields import MISSING
from gameserver.engine.game import Game
from gameserver.engine.inputs import DIGEST_BYTES, packed
from gameserver.engine.records import Child, Record
from gameserver.engine.room import Room
from gameserver.engine.window import Window

FORMAT = 1


class BadSnapshot(Exception):
    """Stored bytes are no snapshot of this game under its present rules."""


class _Node(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A record: values by field number, and under each child's number its records by key.

    A part has the key None.
    """

    number: int
    seat: int
    values: list[tuple[int, Any]]
    below: list[tuple[int, list[tuple[int | str | None, _Node]]]]


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
    system: _Node
    state: _Node


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
        system=_dump(room.system),
        state=_dump(room.state),
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
    numbers: dict[int, None] = {}
    for root, node in ((room.system, stored.system), (room.state, stored.state)):
        _restore(room, root, node, numbers)
    room.changes.next_number = next_number
    seats = room.seats.keys_in_order()
    room.seat_by_account = {room.account(seat): seat for seat in seats}
    if seats != list(room.windows) or len(seats) != len(room.seat_by_account):
        raise ValueError("seats, accounts and their windows do not match")
    if len(stored.digest) != DIGEST_BYTES or max(numbers) >= next_number:
        raise ValueError("a digest or a record number that cannot be")
    room.due_tick = room.next_due()
    return room


def _dump(record: Record) -> _Node:
    state = record.__dict__
    below: list[tuple[int, list[tuple[int | str | None, _Node]]]] = []
    for child in record.children:
        held = state[child.name] if child.is_table else (state[child.name],)
        below.append((child.number, [(one.key, _dump(one)) for one in held]))
    values = [(field.number, state[field.name]) for field in record.fields]
    return _Node(record.record_number, record.seat, values, below)


def _restore(room: Room[Any], record: Record, node: _Node, numbers: dict[int, None]) -> None:
    """Fill a record that is in its place already, and all below it."""
    if node.number in numbers or node.number < 1:
        raise ValueError(f"record number {node.number} is taken, or none")
    numbers[node.number] = None
    state = record.__dict__
    by_number = {field.number: field for field in record.fields}
    for number, stored in node.values:
        field = by_number[number]
        value = field.restore(stored)
        field.check(value)
        state[field.name] = value
    if any(state[field.name] is MISSING for field in record.fields):
        raise ValueError(f"{type(record).__name__}: a field without default is missing")
    state["seat"] = node.seat
    record.note_place(room.changes, node.number, record.parent, record.home)
    record.remake()
    held = dict(node.below)
    for child in record.children:
        _restore_child(room, record, child, held.pop(child.number, []), numbers)
    if held:
        raise ValueError(f"{type(record).__name__} has no child {min(held)}")


def _restore_child(
    room: Room[Any],
    parent: Record,
    child: Child,
    rows: list[tuple[int | str | None, _Node]],
    numbers: dict[int, None],
) -> None:
    if not child.is_table:
        ((_, node),) = rows
        part = parent.__dict__[child.name]
        part.__dict__.update(parent=parent, home=child)
        _restore(room, part, node, numbers)
        return
    table = parent.__dict__[child.name]
    for key, node in rows:
        child.check_key(key)
        if key in table:
            raise ValueError(f"{child.name}[{key}] is there twice")
        record = child.record.__new__(child.record)
        record.blank()
        record.__dict__.update(key=key, parent=parent, home=child)
        _restore(room, record, node, numbers)
