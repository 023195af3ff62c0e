"""Tests of stored states: the same state gives the same bytes, and damaged ones give no room."""

from __future__ import annotations

from typing import Any, ClassVar

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.commands import Command
from gameserver.engine.fields import part, private, public, table
from gameserver.engine.game import Game
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room
from gameserver.engine.snapshot import BadSnapshot
from gameserver.engine.ticking import RoomBroken
from tests.engine.playing import GAME, PLAYS, Event, run, seated
from tests.engine.test_changes import trace_of
from tests.engine.toy import Act, Buy, CarelessGame, ToyGame


def _stored() -> bytes:
    play = seated()
    play.verdicts_held = True
    play.asks_held = True
    play.command(0, Act(steps=((6, 0, 4), (9, 0, 1), (7, 1, 0), (8, 1, 3), (11, 1, 0), (3, 0, 0))))
    play.command(1, Buy(5))
    play.leave(2)
    return play.snapshot()


STORED = _stored()


@settings(max_examples=60)
@given(PLAYS)
def test_a_stored_state_is_the_same_after_it_was_loaded(ticks: list[list[Event]]) -> None:
    play = seated()
    for _ in run(play, ticks):
        pass
    taken = play.snapshot()
    loaded = snapshot.load(GAME, taken)
    assert snapshot.dump(loaded) == taken
    assert snapshot.state_hash(loaded) == snapshot.state_hash(play.room)
    assert _without_ids(loaded) == _without_ids(play.room)
    assert loaded.due_tick == play.room.due_tick
    assert loaded.seat_by_account == play.room.seat_by_account
    assert [loaded.full(seat) for seat in (None, 0, 1, 2, 3)] == [
        play.room.full(seat) for seat in (None, 0, 1, 2, 3)
    ]


def _without_ids(room: Room[Any]) -> Any:
    rows, *rest = trace_of(room)
    return [
        (number, place[1:], fields, orders) for _, number, place, fields, orders, _ in rows
    ], rest


def test_a_snapshot_is_taken_between_ticks() -> None:
    play = seated()
    play.room.state.number = 9
    with pytest.raises(AssertionError, match="between ticks"):
        play.snapshot()


def test_a_snapshot_is_plain_messagepack() -> None:
    parts = msgpack.unpackb(STORED)
    assert parts[:3] == [2, "toy", 1]
    assert msgpack.packb(parts) == STORED


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x90", b"\x9b" + b"\xc0" * 11, STORED + b"\x00"])
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(BadSnapshot):
        snapshot.load(GAME, data)


def test_a_snapshot_of_another_game_or_of_other_rules_is_refused() -> None:
    class Newer(ToyGame):
        rules_version = 2

    class Other(ToyGame):
        name: ClassVar[str] = "other"

    for game in (Newer(), Other()):
        with pytest.raises(BadSnapshot, match="toy"):
            snapshot.load(game, STORED)
    assert snapshot.load(CarelessGame(), STORED).is_open


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(BadSnapshot):
        snapshot.load(GAME, data)


@settings(max_examples=300)
@given(st.data())
def test_flipped_bytes_give_a_bad_snapshot_or_a_room_that_can_be_stored(
    data: st.DataObject,
) -> None:
    damaged = bytearray(STORED)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    _load_and_use(bytes(damaged[: data.draw(st.integers(len(damaged) - 9, len(damaged)))]))


NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=3) | st.binary(max_size=3)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(max_examples=300)
@given(st.data())
def test_a_wrong_value_anywhere_gives_a_bad_snapshot_or_a_room_that_can_be_stored(
    data: st.DataObject,
) -> None:
    parts = msgpack.unpackb(STORED)
    at: Any = parts
    while True:
        place = data.draw(st.integers(0, len(at) - 1))
        inner = at[place]
        if not isinstance(inner, list) or not inner or data.draw(st.integers(0, 3)) == 0:
            at[place] = data.draw(PLAIN)
            break
        at = inner
    _load_and_use(msgpack.packb(parts))


def _load_and_use(data: bytes) -> None:
    """Load, and go on: whatever was believed must at least not fail in another way."""
    try:
        room = snapshot.load(GAME, data)
    except BadSnapshot:
        return
    snapshot.dump(room)
    room.full(0)
    try:
        room.tick(room.now + 1, [i.Reopened(0), i.Sat(77)])
    except RoomBroken:
        return
    snapshot.dump(room)


@pytest.mark.parametrize("value", [True, "4", 4.0, None, 2**53, [4], b"4"])
def test_a_value_that_its_field_could_not_hold_is_refused(value: Any) -> None:
    parts = msgpack.unpackb(STORED)
    (fields, (row,), _) = parts[10]  # The root, whose values follow its key, number and seat.
    row[3 + fields.index(1)] = value
    with pytest.raises(BadSnapshot):
        snapshot.load(GAME, msgpack.packb(parts))


def test_counters_and_digest_survive() -> None:
    room = snapshot.load(GAME, STORED)
    play = seated()
    assert (room.entry_number, room.entry_tick) == (7, 7)
    assert room.shared_tick == 7
    assert len(room.digest) == 32
    assert room.digest != play.room.digest


# --- States of older code.


class Nothing(Command, frozen=True, tag=1):
    """A command, because every game has one."""


class Extra(Record):
    """A record that is new."""

    size: int = public(1, default=3)


class OldChild(Record):
    """A record in a table."""

    name: str = public(1)


class NewChild(Record):
    """The same with a field more."""

    name: str = public(1)
    note: str = private(2, default="none")


class ForcedChild(Record):
    """The same with a field more that must be given."""

    name: str = public(1)
    note: str = private(2)


class OldState(Record):
    """A state as it was."""

    count: int = public(1, default=0)
    rows: Table[int, OldChild] = table(2)


class NewState(Record):
    """The same with a field, a part and a table more."""

    count: int = public(1, default=0)
    colour: str = public(3, default="red")
    rows: Table[int, NewChild] = table(2)
    extras: Table[str, Extra] = table(4)


class PartState(Record):
    """The same with a part more."""

    count: int = public(1, default=0)
    rows: Table[int, OldChild] = table(2)
    extra: Extra = part(3)


class ForcedState(Record):
    """The same whose children have more than was stored."""

    count: int = public(1, default=0)
    rows: Table[int, ForcedChild] = table(2)


class PoorerState(Record):
    """The same with a field less."""

    rows: Table[int, OldChild] = table(2)


class ChildlessState(Record):
    """The same without its table."""

    count: int = public(1, default=0)


def _game(state_class: type[Record]) -> Game[Any]:
    class Some(Game[Any]):
        name: ClassVar[str] = "some"
        title: ClassVar[str] = "Some"
        seats_max: ClassVar[int] = 2
        state = state_class
        commands: ClassVar[tuple[type[Command], ...]] = (Nothing,)

    return Some()


def _old() -> bytes:
    room: Room[Any] = Room(_game(OldState), 5)
    room.tick(1, [i.Opened(b"", bytes(32), 0), i.Sat(8)])
    room.state.count = 4
    room.state.rows.add(1, OldChild(name="one"))
    room.tick(2, [i.Lost(0)])
    return snapshot.dump(room)


def test_a_field_and_a_table_that_were_added_since_take_their_defaults() -> None:
    room = snapshot.load(_game(NewState), _old())
    assert (room.state.count, room.state.colour) == (4, "red")
    assert room.state.rows[1].note == "none"
    room.state.rows[1].note = "some"
    room.state.extras.add("a", Extra())
    room.tick(3, [i.Left(0)])
    again = snapshot.load(_game(NewState), snapshot.dump(room))
    assert again.state.rows[1].note == "some"
    assert again.state.extras["a"].size == 3


def test_the_first_table_of_a_class_is_empty_in_what_was_stored_before() -> None:
    room: Room[Any] = Room(_game(ChildlessState), 5)
    room.tick(1, [i.Opened(b"", bytes(32), 0), i.Sat(8)])
    room.state.count = 4
    room.tick(2, [i.Lost(0)])
    newer = snapshot.load(_game(OldState), snapshot.dump(room))
    assert (newer.state.count, len(newer.state.rows)) == (4, 0)


def test_a_part_that_was_added_since_is_not_made_up() -> None:
    with pytest.raises(BadSnapshot):
        snapshot.load(_game(PartState), _old())


def test_a_field_that_was_added_since_needs_a_default() -> None:
    with pytest.raises(BadSnapshot, match="without default"):
        snapshot.load(_game(ForcedState), _old())


@pytest.mark.parametrize("state_class", [PoorerState, ChildlessState])
def test_what_was_stored_is_never_dropped(state_class: type[Record]) -> None:
    with pytest.raises(BadSnapshot):
        snapshot.load(_game(state_class), _old())
