"""Several ticks merged into one give the view that the ticks give one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gameserver.engine.inputs import packed
from gameserver.runtime.merging import merged
from gameserver.runtime.ring import Frames
from gameserver.runtime.viewers import SharedFrame
from protocol import codec
from protocol.messages import Delta, Full, Private
from protocol.view import View

SEAT = 3
TABLE = 5


class Telling:
    """A room in which records appear, change, go and come back; each is said as rooms say it."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}

    def told(self, record: int, what: int) -> list[Any]:
        if what == 0 and record in self.seen:
            del self.seen[record]
            return [record, 0, None]
        if record in self.seen:
            self.seen[record] = what
            return [record, 1, what]
        self.seen[record] = what
        return [record, 0, [2, TABLE, record], record, 1, what, record, 2, -what]


Event = tuple[bool, int, int]  # Whether it is private, of which record, and what.


def frames_of(ticks: list[list[Event]]) -> list[Frames]:
    """Return what a room sends in these ticks, which begin after tick 10."""
    shared, own = Telling(), Telling()
    frames: list[Frames] = []
    shared_tick = private_tick = 10
    for tick, events in enumerate(ticks, 11):
        public = [part for mine, *event in events if not mine for part in shared.told(*event)]
        private = [part for mine, *event in events if mine for part in own.told(*event)]
        told: dict[int, bytes] = {}
        delta = None
        if private:
            changes = packed(private)
            told[SEAT] = codec.private(1, private_tick, tick, changes, [], bool(public))
            private_tick = tick
        if public:
            delta = SharedFrame(codec.delta(1, shared_tick, tick, packed(public)))
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
        private, shared = merged(1, frames[first:], SEAT)
        take(joined, private, None if shared is None else SharedFrame(shared))
    return single, joined


def take(view: View, private: bytes | None, shared: SharedFrame | None) -> None:
    for payload in (private, None if shared is None else shared.payload):
        if payload is not None:
            message = codec.decode_outbound(payload)
            assert isinstance(message, Delta | Private)
            view.apply(message)


EVENTS = st.tuples(st.booleans(), st.integers(3, 4), st.integers(0, 1))


@given(st.lists(st.lists(EVENTS, max_size=5), max_size=10), st.integers(0, 3))
def test_merged_ticks_give_the_same_view(ticks: list[list[Event]], first: int) -> None:
    single, joined = views_of(ticks, first)
    assert joined.dump() == single.dump()


def test_a_record_that_went_and_came_and_went_again_is_gone() -> None:
    steps = [1, 0, 1, 0]
    single, joined = views_of([[(True, 3, what)] for what in steps], 1)
    assert 103 not in single.records
    assert joined.dump() == single.dump()
