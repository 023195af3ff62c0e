"""A view kept by deltas is the view that the full state gives."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.messages import Delta, Full, Private
from protocol.view import Applied, Desync, Gap, Place, View

ROOM = 5


class Model:
    """A tree of records on the server's side, and what its ticks would send to one seat.

    Fields 1 to 3 are for everybody, field 9 is for the seat alone.
    """

    def __init__(self) -> None:
        self.places: dict[int, list[Any]] = {}
        self.fields: dict[int, dict[int, Any]] = {1: {1: 0}, 2: {1: 0}}
        self.next_number = 3
        self.tick = 0
        self.shared_tick = 0
        self.private_tick = 0

    def full(self) -> Full:
        public: list[Any] = []
        private: list[Any] = []
        for number in sorted(self.fields):
            if number in self.places:
                public += [number, 0, self.places[number]]
            for field, value in self.fields[number].items():
                (private if field == 9 else public).extend([number, field, value])
        return Full(ROOM, self.tick, public, private)

    def advance(self, steps: list[tuple[str, int, int, Any]]) -> list[Delta | Private]:
        """Do some steps within a tick and return the tick's frames."""
        self.tick += 1
        born: dict[int, list[Any]] = {}
        gone: list[Any] = []
        written: dict[tuple[int, int], Any] = {}
        for step, at, field, value in steps:
            numbers = sorted(self.fields)
            number = numbers[at % len(numbers)]
            if step == "write":
                self.fields[number][field] = written[number, field] = value
            elif step == "add":
                child = self.next_number
                self.next_number += 1
                self.places[child] = born[child] = [number, 4, child * 10]
                self.fields[child] = {1: value, 9: value}
                written[child, 1] = written[child, 9] = value
            elif number > 2:
                for end in self._below(number):
                    del self.fields[end], self.places[end]
                    if born.pop(end, None) is None:
                        gone += [end, 0, None]
        return self._frames(born, gone, written)

    def _below(self, number: int) -> list[int]:
        """Return a record and all below it, the lowest first."""
        ends = [one for one, place in self.places.items() if place[0] == number]
        return [end for one in ends for end in self._below(one)] + [number]

    def _frames(
        self,
        born: dict[int, list[Any]],
        gone: list[Any],
        written: dict[tuple[int, int], Any],
    ) -> list[Delta | Private]:
        public: list[Any] = list(gone)
        private: list[Any] = []
        for number, place in born.items():
            public += [number, 0, place]
            private += [number, 0, place]
        for (number, field), value in written.items():
            if number in self.fields:
                (private if field == 9 else public).extend([number, field, value])
        frames: list[Delta | Private] = []
        if private:
            frames.append(
                Private(0, self.tick, self.tick - self.private_tick, private, [], more=bool(public))
            )
            self.private_tick = self.tick
        if public:
            frames.append(Delta(0, self.tick, self.tick - self.shared_tick, public))
            self.shared_tick = self.tick
        return frames


values = st.one_of(
    st.integers(-5, 5), st.booleans(), st.text(max_size=3), st.lists(st.integers(), max_size=2)
)
steps = st.tuples(
    st.sampled_from(["write", "write", "add", "remove"]),
    st.integers(0, 20),
    st.sampled_from([1, 2, 3, 9]),
    values,
)
ticks = st.lists(st.lists(steps, max_size=6), max_size=12)


def view_of(full: Full) -> View:
    view = View()
    applied = view.apply(full)
    assert isinstance(applied, Applied)
    assert applied.full
    return view


@given(ticks, st.integers(0, 12))
def test_deltas_in_order_give_what_the_full_state_gives(
    story: list[list[tuple[str, int, int, Any]]], joins_at: int
) -> None:
    model = Model()
    view = view_of(model.full())
    late = View()
    for index, tick in enumerate(story):
        if index == joins_at:
            late.apply(model.full())
        for frame in model.advance(tick):
            assert isinstance(view.apply(frame), Applied)
            if late.closed_tick is not None:
                assert isinstance(late.apply(frame), Applied)
    expected = view_of(model.full())
    assert view.dump() == expected.dump()
    if late.closed_tick is not None:
        assert late.dump() == expected.dump()
    for number, place in view.places.items():
        assert view.child(*place) == number


@given(ticks, st.data())
def test_a_repeated_frame_changes_nothing(
    story: list[list[tuple[str, int, int, Any]]], data: st.DataObject
) -> None:
    model = Model()
    view = view_of(model.full())
    seen: list[Delta | Private] = []
    for tick in story:
        for frame in model.advance(tick):
            view.apply(frame)
            seen.append(frame)
        if seen:
            before = view.dump()
            again = view.apply(data.draw(st.sampled_from(seen)))
            assert isinstance(again, Applied)
            assert again.repeat
            assert view.dump() == before
    assert view.dump() == view_of(model.full()).dump()


@given(ticks, st.integers(0, 12))
@settings(max_examples=50)
def test_a_lost_frame_is_noticed_by_the_next_of_its_kind_and_mended_by_a_full_state(
    story: list[list[tuple[str, int, int, Any]]], lost_at: int
) -> None:
    model = Model()
    view = view_of(model.full())
    lost: type | None = None
    for index, tick in enumerate(story):
        frames = model.advance(tick)
        if index == lost_at and frames:
            lost = type(frames.pop(0))
        for frame in frames:
            if lost is type(frame):
                before = view.dump()
                assert isinstance(view.apply(frame), Gap)
                assert view.dump() == before
                view.apply(model.full())
                lost = None
            elif lost is None:
                view.apply(frame)
    if lost is None:
        assert view.dump() == view_of(model.full()).dump()


def test_an_empty_view_takes_nothing_but_a_full_state() -> None:
    view = View()
    assert view.closed_tick is None
    assert isinstance(view.apply(Delta(0, 1, 1, [1, 1, 1])), Gap)
    assert isinstance(view.apply(Private(0, 1, 1, [], [], False)), Gap)
    assert view.records == {}


def test_records_1_and_2_are_there_though_nothing_says_that_they_appear() -> None:
    view = view_of(Full(ROOM, 7, [2, 1, 5], []))
    assert view.value(2, 1) == 5
    assert view.dump() == ((1, None, ()), (2, None, ((1, 5),)))
    assert view.value(2, 3, "none") == "none"
    assert view.value(9, 1) is None


def test_the_closed_tick_is_that_of_the_last_frame_of_a_tick() -> None:
    view = view_of(Full(ROOM, 7, [], []))
    assert view.closed_tick == 7
    applied = view.apply(Private(0, 8, 1, [2, 1, 1], [], more=True))
    assert isinstance(applied, Applied)
    assert not applied.closes
    assert view.closed_tick == 7
    applied = view.apply(Delta(0, 8, 5, [2, 2, 2]))
    assert isinstance(applied, Applied)
    assert applied.closes
    assert view.closed_tick == 8
    view.apply(Private(0, 10, 2, [2, 1, 2], [], more=False))
    assert (view.closed_tick, view.shared_tick, view.private_tick) == (10, 8, 10)


def test_after_a_private_frame_that_was_not_closed_the_tick_is_taken_again() -> None:
    view = view_of(Full(ROOM, 7, [], []))
    view.apply(Private(0, 8, 1, [2, 1, 1], [], more=True))
    # The connection broke here; resumed from closed tick 7, the server sends tick 8 again.
    assert view.closed_tick == 7
    view.apply(Private(0, 8, 1, [2, 1, 1], [], more=True))
    view.apply(Delta(0, 8, 1, [2, 2, 2]))
    assert view.closed_tick == 8
    assert view.records[2] == {1: 1, 2: 2}


def test_a_record_may_appear_in_the_private_and_in_the_shared_frame() -> None:
    view = view_of(Full(ROOM, 7, [], []))
    view.apply(Private(0, 8, 1, [3, 0, [2, 4, "ann"], 3, 9, 1], [], more=True))
    view.apply(Delta(0, 8, 1, [3, 0, [2, 4, "ann"], 3, 1, [1, [2]]]))
    assert view.records[3] == {9: 1, 1: (1, (2,))}
    assert view.places[3] == Place(2, 4, "ann")
    assert dict(view.children(2, 4)) == {"ann": 3}


def test_gone_takes_everything_below_with_it() -> None:
    appear = [3, 0, [2, 4, 1], 4, 0, [3, 4, 1], 5, 0, [4, 4, 1], 6, 0, [2, 4, 2]]
    view = view_of(Full(ROOM, 7, appear, []))
    view.apply(Delta(0, 8, 1, [3, 0, None, 5, 0, None]))
    assert sorted(view.records) == [1, 2, 6]
    assert dict(view.children(2, 4)) == {2: 6}
    assert view.places == {6: Place(2, 4, 2)}


def test_a_new_record_may_take_the_key_of_one_that_goes_in_the_same_tick() -> None:
    view = view_of(Full(ROOM, 7, [3, 0, [2, 4, 1]], []))
    view.apply(Delta(0, 8, 1, [4, 0, [2, 4, 1], 3, 0, None]))
    assert view.child(2, 4, 1) == 4
    view.apply(Delta(0, 9, 1, [4, 0, None, 5, 0, [2, 4, 1]]))
    assert view.child(2, 4, 1) == 5


@pytest.mark.parametrize(
    "changes",
    [
        [3, 1, 5],
        [2, 1],
        [[2], 1, 5],
        [3, 0, [2, 4]],
        [3, 0, 7],
        [7, 0, [2, 4, 1]],
        [3, 0, [2, 4, 1], 3, 0, None, 3, 1, 5],
    ],
)
def test_what_makes_no_sense_is_a_desync_that_only_a_full_state_mends(changes: list[Any]) -> None:
    full = Full(ROOM, 7, [7, 0, [2, 4, 9]], [])
    view = view_of(full)
    with pytest.raises(Desync):
        view.apply(Delta(0, 8, 1, changes))
    assert view.closed_tick is None
    assert isinstance(view.apply(Delta(0, 8, 1, [2, 1, 1])), Gap)
    view.apply(full)
    assert view.dump() == view_of(full).dump()
