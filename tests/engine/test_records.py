"""Tests of records and tables: what a declaration refuses, and what a rule cannot do by mistake."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from gameserver.engine.fields import Visibility, part, private, public, secret, table
from gameserver.engine.records import NO_SEAT, Record, Table
from gameserver.engine.room import Room
from tests.engine.playing import seated
from tests.engine.toy import Act
from tests.engine.toy_state import Diary, Item, Lamp, Shelf, Stall, Toy


@pytest.fixture
def room() -> Room[Toy]:
    """Return a room with one shelf, which is seat 2's."""
    room = seated().room
    room.state.stalls[0].shelves.add(0, Shelf(label="a", price="b"), seat=2)
    return room


def _shelf(room: Room[Toy]) -> Shelf:
    return room.state.stalls[0].shelves[0]


def test_a_record_is_made_from_its_fields() -> None:
    item = Item(name="a", note="b", core="c")
    assert (item.name, item.note, item.core) == ("a", "b", "c")
    with pytest.raises(TypeError, match="core is missing"):
        Item(name="a", note="b")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no field colour"):
        Item(name="a", note="b", core="c", colour="d")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="expected str"):
        Item(name=1, note="b", core="c")  # type: ignore[arg-type]


def test_a_record_outside_of_a_room_is_written_freely() -> None:
    item = Item(name="a", note="b", core="c")
    item.name = "d"
    assert item.name == "d"


@pytest.mark.parametrize("name", ["colour", "items", "lamp", "seat", "key", "record_number"])
def test_only_fields_can_be_written(room: Room[Toy], name: str) -> None:
    shelf = _shelf(room)
    with pytest.raises(AttributeError):
        setattr(shelf, name, 1)


def test_a_field_cannot_be_deleted(room: Room[Toy]) -> None:
    with pytest.raises(AttributeError):
        del _shelf(room).label
    assert _shelf(room).label == "a"


def test_a_refused_value_changes_nothing(room: Room[Toy]) -> None:
    before = room.changes.mark()
    with pytest.raises(TypeError):
        room.state.number = True
    with pytest.raises(ValueError, match="not within"):
        room.state.number = 2**53
    assert room.state.number == 0
    assert room.changes.mark() == before


def test_a_record_has_the_seat_of_the_one_above_unless_it_is_given_another(
    room: Room[Toy],
) -> None:
    shelf = _shelf(room)
    assert (shelf.seat, shelf.lamp.seat) == (2, 2)
    assert shelf.items.add(0, Item(name="a", note="b", core="c")).seat == 2
    assert shelf.items.add(1, Item(name="a", note="b", core="c"), seat=1).seat == 1
    assert shelf.items.add(2, Item(name="a", note="b", core="c"), seat=NO_SEAT).seat == NO_SEAT
    for seat in (-2, True, "1"):
        with pytest.raises(AssertionError):
            shelf.items.add(3, Item(name="a", note="b", core="c"), seat=seat)  # type: ignore[arg-type]
    assert 3 not in shelf.items


def test_a_table_takes_each_key_and_each_record_once(room: Room[Toy]) -> None:
    stalls = room.state.stalls
    with pytest.raises(AssertionError, match="is taken"):
        stalls.add(0, Stall())
    stall = stalls.add(1, Stall())
    with pytest.raises(AssertionError, match="added once"):
        stalls.add(2, stall)
    stalls.remove(1)
    with pytest.raises(AssertionError, match="added once"):
        stalls.add(1, stall)
    with pytest.raises(KeyError):
        stalls.remove(1)


@pytest.mark.parametrize("key", ["0", True, 1.0, None, 2**53])
def test_a_table_refuses_keys_of_another_type(room: Room[Toy], key: Any) -> None:
    before = room.changes.mark()
    with pytest.raises((TypeError, ValueError)):
        room.state.stalls.add(key, Stall())
    assert len(room.state.stalls) == 1
    assert room.changes.mark() == before


def test_a_table_refuses_records_of_another_class(room: Room[Toy]) -> None:
    with pytest.raises(AssertionError, match="other records"):
        room.state.stalls.add(1, Lamp())  # type: ignore[arg-type]


def test_a_record_that_has_ended_takes_no_writes_and_no_children(room: Room[Toy]) -> None:
    stall, shelf = room.state.stalls[0], _shelf(room)
    room.state.stalls.remove(0)
    with pytest.raises(AssertionError, match="ended"):
        shelf.label = "c"
    with pytest.raises(AssertionError, match="not part of"):
        stall.shelves.add(1, Shelf(label="a", price="b"))
    with pytest.raises(AssertionError, match="not part of"):
        shelf.items.add(1, Item(name="a", note="b", core="c"))


def test_nothing_can_be_added_below_a_record_that_is_in_no_room() -> None:
    with pytest.raises(AssertionError, match="not part of"):
        Stall().shelves.add(1, Shelf(label="a", price="b"))


def test_a_table_may_be_changed_while_it_is_gone_through(room: Room[Toy]) -> None:
    stalls = room.state.stalls
    for key in (1, 2):
        stalls.add(key, Stall())
    for stall in stalls:
        stalls.remove(int(stall.key or 0))
        stalls.add(int(stall.key or 0) + 10, Stall())
    assert [stall.key for stall in stalls] == [10, 11, 12]
    stalls.clear()
    assert len(stalls) == 0
    assert not stalls.keys_in_order()


def test_the_list_of_keys_is_the_callers_own(room: Room[Toy]) -> None:
    stalls = room.state.stalls
    stalls.add(1, Stall())
    keys = stalls.keys_in_order()
    keys.reverse()
    assert [stall.key for stall in stalls] == [0, 1]
    assert stalls.keys_in_order() == [0, 1]


def test_an_ended_record_belongs_to_nobody(room: Room[Toy]) -> None:
    number = _shelf(room).record_number
    assert number in room.changes.owned[2]
    room.state.stalls.remove(0)
    assert number not in room.changes.owned[2]


def _declare(body: dict[str, Any], hints: dict[str, Any], **options: Any) -> type[Record]:
    made: type[Record] = type("Made", (Record,), {"__annotations__": hints, **body}, **options)
    return made


class Leaf(Record):
    """A record without children."""

    value: int = public(1)


@pytest.mark.parametrize(
    ("body", "hints"),
    [
        ({"a": public(1), "b": public(1)}, {"a": int, "b": int}),
        ({"a": public(1), "b": table(1)}, {"a": int, "b": Table[int, Leaf]}),
        ({"a": 5}, {"a": int}),
        ({}, {"a": int}),
        ({"a": public(1)}, {}),
        ({"seat": public(1)}, {"seat": int}),
        ({"fields": public(1)}, {"fields": int}),
        ({"discard": public(1)}, {"discard": int}),
        ({"a": table(1)}, {"a": Table[float, Leaf]}),  # type: ignore[type-var]
        ({"a": table(1)}, {"a": Table[int, int]}),  # type: ignore[type-var]
        ({"a": part(1)}, {"a": Leaf}),
        ({"a": part(1)}, {"a": int}),
        ({"cache": {}}, {"cache": ClassVar[dict[int, int]]}),
        ({"seen_by": public(1)}, {"seen_by": bool}),
    ],
)
def test_a_declaration_that_cannot_work_is_refused_at_once(
    body: dict[str, Any], hints: dict[str, Any]
) -> None:
    with pytest.raises(TypeError):
        _declare(body, hints)


def test_a_record_that_not_all_may_see_has_no_children() -> None:
    below = {"below": table(2)}, {"below": Table[int, Leaf]}
    for audience in (Visibility.PRIVATE, Visibility.SECRET):
        with pytest.raises(TypeError, match="cannot have children"):
            _declare(*below, audience=audience)
    with pytest.raises(TypeError, match="cannot have children"):
        _declare({**below[0], "seen_by": secret(1)}, {**below[1], "seen_by": int})


def test_an_audience_and_seen_by_do_not_go_together() -> None:
    with pytest.raises(TypeError, match="either"):
        _declare({"seen_by": public(1)}, {"seen_by": int}, audience=Visibility.SECRET)


def test_fields_and_children_are_in_the_order_of_their_numbers() -> None:
    made = _declare(
        {"b": table(9), "z": private(3), "a": public(7), "c": table(2)},
        {"b": Table[int, Leaf], "z": int, "a": int, "c": Table[str, Leaf]},
    )
    assert [field.name for field in made.fields] == ["z", "a"]
    assert [child.name for child in made.children] == ["c", "b"]


def test_a_private_record_of_no_seat_is_shown_to_nobody() -> None:
    play = seated()
    play.room.state.diaries.add("~x~", Diary(title="~1000~", page="p", ink="i"))
    play.command(0, Act())
    assert not any(watcher.has_seen(b"~1000~") for watcher in play.watchers.values())
