"""Tests of the change log: undo leaves the state, its order and its numbers as they were."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gameserver.engine.changes import ADDED, REMOVED, ChangeLog
from gameserver.engine.fields import public, table
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room
from tests.engine.playing import PLAYS, STEPS, Event, records_of, run, seated
from tests.engine.toy import Act
from tests.engine.toy_state import Shelf, Stall, Toy, mark
from tests.engine.toy_steps import take_steps

Steps = tuple[tuple[int, int, int], ...]
SOME_STEPS = st.lists(STEPS, min_size=1, max_size=6).map(lambda lists: sum(lists, ()))


class Leaf(Record):
    """A record in a table."""

    value: int = public(1, default=0)


class Tree(Record):
    """A record with a table, in no room."""

    leaves: Table[int, Leaf] = table(1)


def trace_of(room: Room[Any]) -> Any:
    """Return all that there is of a state: values, places, orders, numbers, who has what."""
    rows = []
    for record in records_of(room):
        fields = [record.__dict__[field.name] for field in record.fields]
        place = (id(record.parent), record.key, record.seat, record._log is room.changes.items)
        orders = [
            (list(record.__dict__[child.name].keys_in_order()), len(record.__dict__[child.name]))
            for child in record.children
            if child.is_table
        ]
        below = [id(one) for one in record.records_below()]
        rows.append((id(record), record.record_number, place, fields, orders, below))
    log = room.changes
    owned = {seat: sorted(records) for seat, records in log.owned.items() if records}
    return rows, log.next_number, owned, sorted(log.shown), len(log.items)


@settings(max_examples=200)
@given(PLAYS.filter(lambda ticks: len(ticks) < 6), SOME_STEPS, SOME_STEPS)
def test_undo_restores_everything(ticks: list[list[Event]], first: Steps, then: Steps) -> None:
    play = seated()
    for _ in run(play, ticks):
        pass
    room = play.room
    before = trace_of(room)
    mark_before = room.changes.mark()
    take_steps(room, first)
    between = trace_of(room)
    mark_between = room.changes.mark()
    take_steps(room, then)
    room.changes.undo_to(mark_between)
    assert trace_of(room) == between
    room.changes.undo_to(mark_before)
    assert trace_of(room) == before


@settings(max_examples=50)
@given(SOME_STEPS, SOME_STEPS)
def test_what_was_undone_can_be_done_again_and_gives_the_same(first: Steps, then: Steps) -> None:
    once, twice = seated(), seated()
    start = twice.room.mark()
    take_steps(twice.room, then)
    twice.room.undo_to(start)
    for play in (once, twice):
        take_steps(play.room, first)
        play.tick()
        play.command(0, Act())
    assert once.journal == twice.journal
    assert once.snapshot() == twice.snapshot()


def test_a_record_that_was_added_and_undone_is_no_part_of_the_state() -> None:
    room = seated().room
    number = room.changes.next_number
    before = room.changes.mark()
    stall = room.state.stalls.add(1, Stall())
    shelf = stall.shelves.add(2, Shelf(label="a", price="b"))
    assert [shelf.record_number, shelf.lamp.record_number] == [number + 1, number + 2]
    room.changes.undo_to(before)
    assert 1 not in room.state.stalls
    assert room.changes.next_number == number
    for write in (
        lambda: setattr(stall, "shelves", None),
        lambda: setattr(shelf, "label", "c"),
        lambda: setattr(shelf.lamp, "lit", True),
        lambda: stall.shelves.add(3, Shelf(label="d", price="e")),
    ):
        with pytest.raises((AssertionError, AttributeError)):
            write()


def test_a_record_that_was_removed_and_undone_lives_on_with_all_below_it() -> None:
    room = seated().room
    stall = room.state.stalls.add(1, Stall())
    shelf = stall.shelves.add(2, Shelf(label="a", price="b"), seat=1)
    before = room.changes.mark()
    shelf.label = "c"
    room.state.stalls.remove(1)
    room.state.stalls.add(1, Stall())
    room.changes.undo_to(before)
    assert room.state.stalls[1] is stall
    assert stall.shelves[2] is shelf
    assert shelf.label == "a"
    shelf.label = "d"
    shelf.lamp.oil = mark(room)
    stall.shelves.add(1, Shelf(label="e", price="f"))
    assert [one.key for one in stall.shelves] == [1, 2]
    assert room.changes.owned[1][shelf.record_number] is shelf


def test_the_log_tells_each_write_with_what_was_there_before() -> None:
    room = seated().room
    room.state.number = 5
    room.state.number = 5  # No change, so no write.
    stall = room.state.stalls.add(1, Stall())
    room.state.stalls.remove(1)
    field = next(field for field in Toy.fields if field.name == "number")
    assert room.changes.items == [
        (room.state, field, 0),
        (stall, ADDED, None),
        (stall, REMOVED, None),
    ]
    room.changes.items.clear()
    assert room.changes.mark() == 0


def test_iteration_is_in_key_order_whatever_was_undone() -> None:
    log = ChangeLog()
    tree = Tree()
    tree.join(log, None, None)
    for key in (5, 1, 3):
        tree.leaves.add(key, Leaf())
    before = log.mark()
    tree.leaves.remove(1)
    tree.leaves.add(2, Leaf())
    assert [leaf.key for leaf in tree.leaves] == [2, 3, 5]
    log.undo_to(before)
    assert [leaf.key for leaf in tree.leaves] == [1, 3, 5]
