"""Several ticks merged into one give the view that the ticks give one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gameserver.engine.inputs import packed
from gameserver.runtime.merging import merged
from gameserver.runtime.ring import Frames
from protocol import codec
from protocol.messages import Delta, Full, Private
from protocol.view import View

SEAT = 3
TABLE = 5


class Telling:
    """A room that says, tick by tick, what comes, changes and goes.

    Records of everybody's have a field of their owner's alone, so that both frames of the tick in
    which one comes say so; each has a new number. Records that are shown and hidden keep theirs.
    """

    def __init__(self) -> None:
        self.public: list[Any] = []
        self.private: list[Any] = []
        self.common: dict[int, int] = {}
        self.shown: set[int] = set()
        self.next_number = 10

    def turn_common(self, key: int, what: int) -> None:
        number = self.common.get(key)
        if number is None:
            number = self.common[key] = self.next_number
            self.next_number += 1
            place = [2, TABLE, key]
            self.public += [number, 0, place, number, 1, what]
            self.private += [number, 0, place, number, 2, what]
        elif what == 0:
            del self.common[key]
            self.public += [number, 0, None]
        elif what == 1:
            self.public += [number, 1, key]
        else:
            self.private += [number, 2, key]

    def turn_hidden(self, key: int, what: int) -> None:
        number = 3 + key
        if number not in self.shown:
            self.shown.add(number)
            self.private += [number, 0, [2, TABLE + 1, key], number, 1, what]
        elif what == 0:
            self.shown.discard(number)
            self.private += [number, 0, None]
        else:
            self.private += [number, 1, -what]


Event = tuple[bool, int, int]  # Whether of everybody's, which record, and what.


def frames_of(ticks: list[list[Event]]) -> list[Frames]:
    """Return what a room sends in these ticks, which begin after tick 10."""
    room = Telling()
    frames: list[Frames] = []
    shared_tick = private_tick = 10
    for tick, events in enumerate(ticks, 11):
        room.public, room.private = [], []
        for is_common, key, what in events:
            (room.turn_common if is_common else room.turn_hidden)(key, what)
        told: dict[int, bytes] = {}
        delta = None
        if room.private:
            changes, more = packed(room.private), bool(room.public)
            told[SEAT] = codec.private_tail(tick, tick - private_tick, changes, [], more)
            private_tick = tick
        if room.public:
            delta = codec.delta_tail(tick, tick - shared_tick, packed(room.public))
            shared_tick = tick
        if told or delta is not None:
            frames.append(Frames(tick, delta, told))
    return frames


def views_of(ticks: list[list[Event]], first: int) -> tuple[View, View]:
    """Return what the ticks give one by one, and what they give when all after ``first`` merge."""
    single, joined = View(), View()
    start = codec.decode_outbound(codec.full(1, 10, packed([]), packed([])))
    assert isinstance(start, Full)
    for view in (single, joined):
        view.apply(start)
    frames = frames_of(ticks)
    for at, one in enumerate(frames):
        take(single, one.private.get(SEAT), one.shared)
        if at < first:
            take(joined, one.private.get(SEAT), one.shared)
    if frames[first:]:
        take(joined, *merged(frames[first:], SEAT))
    return single, joined


def take(view: View, private: bytes | None, shared: bytes | None) -> None:
    for head, tail in ((codec.private, private), (codec.delta, shared)):
        if tail is not None:
            message = codec.decode_outbound(head(0, tail))
            assert isinstance(message, Delta | Private)
            view.apply(message)


EVENTS = st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 2))


@given(st.lists(st.lists(EVENTS, max_size=5), max_size=10), st.integers(0, 3))
def test_merged_ticks_give_the_same_view(ticks: list[list[Event]], first: int) -> None:
    single, joined = views_of(ticks, first)
    assert joined.dump() == single.dump()


def test_a_record_that_was_hidden_and_shown_and_hidden_again_is_gone() -> None:
    single, joined = views_of([[(False, 0, what)] for what in (1, 0, 1, 0)], 1)
    assert 3 not in single.records
    assert joined.dump() == single.dump()


def test_a_record_that_came_and_went_in_between_is_gone() -> None:
    single, joined = views_of([[(True, 0, 1)], [(True, 0, 0)]], 0)
    assert 10 not in single.records
    assert joined.dump() == single.dump()
