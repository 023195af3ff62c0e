"""Tests of who is shown what: views kept by deltas, and the search for what must not be told."""

from __future__ import annotations

from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from gameserver.engine import delta, ticking
from gameserver.engine import inputs as i
from gameserver.engine.changes import Item
from gameserver.engine.fields import Visibility
from protocol import codec
from protocol.messages import Delta, Private
from tests.engine.playing import (
    PLAYS,
    Event,
    Guard,
    expected_view,
    marks_in,
    run,
    seated,
)
from tests.engine.toy import Act, Then
from tests.engine.toy_state import Card, Toy
from tests.games.play import Play, account_of

DEAL, TURN, VAULT, SHELF, ITEM, DIARY = 8, 10, 11, 6, 9, 7


@settings(max_examples=150)
@given(PLAYS)
@example([[("leave", 0, (), Then.NOTHING), ("sit", 4, (), Then.NOTHING)]] * 3)
def test_every_view_kept_by_deltas_is_what_its_viewer_may_see(ticks: list[list[Event]]) -> None:
    play = seated()
    guard = Guard(play)
    for _ in run(play, ticks):
        guard.check()
    play.check_views()  # Against full states.


@settings(max_examples=75)
@given(PLAYS)
def test_nothing_of_an_untidy_player_reaches_the_next_one_at_the_seat(
    ticks: list[list[Event]],
) -> None:
    play = seated(tidy=False)
    guard = Guard(play)
    for _ in run(play, ticks):
        guard.check()
    for _ in range(5):  # The bell rings, if it was set.
        play.tick()
        guard.check()
    assume(play.room.due_tick is None)  # Or a rule may well show old things to new players.
    old = {record.record_number for record in play.room.state.diaries}
    old |= {record.record_number for record in play.room.state.cards}
    for seat in tuple(play.room.seats.keys_in_order()):
        play.leave(seat)
        guard.check()
    for name in ("gus", "hal", "ida"):
        said = play.try_sit(name)
        guard.check()
        if isinstance(said, int):
            seen = {row[0] for row in play.watcher(said).view.dump()}
            assert not seen & old


@settings(max_examples=50)
@given(PLAYS)
def test_full_states_are_what_may_be_seen_after_a_snapshot_too(ticks: list[list[Event]]) -> None:
    play = seated()
    for _ in run(play, ticks):
        pass
    play.recover(play.snapshot())
    for seat in play.room.seats.keys_in_order():
        play.sit(play.room.account(seat))
        assert play.watcher(seat).view.dump() == expected_view(play.room, seat)


def test_the_search_for_marks_finds_what_a_wrong_delta_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = seated()
    guard = Guard(play)
    for field in Toy.fields:
        monkeypatch.setattr(field, "reach", Visibility.PUBLIC)
    play.command(0, Act(then=Then.MUTTER))
    with pytest.raises(AssertionError):
        guard.check()


@settings(max_examples=60)
@given(PLAYS)
def test_changes_are_sorted_alike_with_and_without_regard_to_records_that_come_and_go(
    ticks: list[list[Event]],
) -> None:
    def sorted_both_ways(items: list[Item]) -> delta.Changes:
        changes = delta.changes_of(items)
        assert changes == delta._Sorter(items).sorted()
        return changes

    with patch.object(ticking, "changes_of", sorted_both_ways):
        for _ in run(seated(), ticks):
            pass


def _newest(play: Play[Toy]) -> Card:
    return max(play.state.cards, key=lambda card: card.record_number)


def test_a_bit_of_seen_by_shows_and_hides_a_record_across_ticks() -> None:
    play = seated()
    play.command(0, Act(steps=((DEAL, 0, 0b0001),)))
    card = _newest(play)
    number = card.record_number
    views = [play.watcher(seat).view for seat in range(3)]
    assert [number in view.records for view in views] == [True, False, False]
    at = list(play.state.cards).index(card)
    play.command(0, Act(steps=((TURN, at, 3 * 0b0110),)))
    assert [number in view.records for view in views] == [False, True, True]
    assert views[1].value(number, 1) == card.face
    assert number not in play.watchers[None].view.records


def test_a_bit_turned_on_and_off_within_a_tick_tells_nothing() -> None:
    play = seated()
    play.command(0, Act(steps=((DEAL, 0, 0b0001),)))
    at = list(play.state.cards).index(_newest(play))
    told = len(play.watcher(1).frames)
    out = play.command(0, Act(steps=((TURN, at, 3 * 0b0010), (TURN, at, 3 * 0b0001))))
    assert out is None
    assert not marks_in(b"".join(play.watcher(1).frames[told:]))


def test_a_record_that_comes_and_goes_within_a_tick_is_told_to_nobody() -> None:
    play = seated()
    told = {seat: len(watcher.frames) for seat, watcher in play.watchers.items()}
    # A shelf is put up, filled, and taken down, and its stall too.
    steps = ((5, 1, 1), (SHELF, 1, 1), (ITEM, 1, 1), (ITEM, 1, 0), (SHELF, 1, 1), (5, 1, 3))
    assert play.command(0, Act(steps=steps)) is None
    assert play.last.shared is None
    assert all(len(play.watchers[seat].frames) <= told[seat] + 1 for seat in told)
    private = codec.decode_outbound(codec.private(0, play.last.private[0]))
    assert isinstance(private, Private)
    assert private.changes == []
    play.check_views()


def test_the_private_frame_says_of_which_new_record_it_speaks() -> None:
    play = seated()
    assert play.command(0, Act(steps=((SHELF, 0, 1), (ITEM, 0, 2)))) is None
    shelf = play.state.stalls[0].shelves[1]
    private = codec.decode_outbound(codec.private(0, play.last.private[shelf.seat]))
    shared = codec.decode_outbound(codec.delta(0, play.last.shared or b""))
    assert isinstance(private, Private)
    assert isinstance(shared, Delta)
    stall = play.state.stalls[0].record_number
    assert private.changes[:3] == [shelf.record_number, 0, [stall, 1, 1]]
    assert [shelf.record_number, 2, shelf.price] == private.changes[3:6]
    assert shelf.price not in shared.changes
    assert private.more


def test_of_several_writes_in_a_tick_only_the_last_value_is_told() -> None:
    play = seated()
    play.submit(0, Act(steps=((0, 0, 1), (0, 0, 2))))
    play.submit(1, Act(steps=((0, 0, 3), (0, 2, 9))))
    play.tick()
    shared = codec.decode_outbound(codec.delta(0, play.last.shared or b""))
    assert isinstance(shared, Delta)
    assert shared.changes == [2, 1, 3, 2, 3, "text 9"]


def test_what_only_nobody_may_see_makes_no_frame_for_others() -> None:
    play = seated()
    assert play.command(0, Act(then=Then.MUTTER)) is None
    assert play.last.entry is not None
    assert play.last.shared is None
    assert sorted(play.last.private) == [0]  # The outcome, and nothing else.


def test_the_leaver_of_a_seat_is_not_shown_what_the_next_one_has() -> None:
    play = seated()
    play.put(i.Left(0), i.Sat(account_of("eve")))
    play.tick()
    assert play.last.seated == {account_of("eve"): 3}
    assert 0 not in play.last.private


def test_seats_that_are_shown_the_same_are_one_group() -> None:
    groups = delta._groups({0b0111: [1], 0b0010: [2], 0b0110: [3], 0b1000: [4]})
    assert sorted(groups) == [[0b0001, [1]], [0b0010, [1, 2, 3]], [0b0100, [1, 3]], [0b1000, [4]]]
    assert delta._groups({}) == []


@given(st.dictionaries(st.integers(1, 2**8 - 1), st.lists(st.integers(), max_size=2)))
def test_groups_tell_each_seat_what_is_shared_with_it(shares: dict[int, list[int]]) -> None:
    expected: dict[int, list[int]] = {}
    for mask, flat in shares.items():
        for seat in delta.seats_in(mask):
            expected[seat] = expected.get(seat, []) + flat
    told = [(seat, flat) for bits, flat in delta._groups(shares) for seat in delta.seats_in(bits)]
    assert sorted(told) == sorted(expected.items())


def test_seats_in_counts_the_bits() -> None:
    assert delta.seats_in(0b101001) == (0, 3, 5)
    assert delta.seats_in(0) == ()


def test_a_private_field_of_a_record_for_nobody_is_told_to_nobody() -> None:
    play = seated()
    assert play.command(0, Act(steps=((VAULT, 1, 0),) * 3)) is None  # Seat 0 owns three.
    told = len(play.watcher(0).frames)
    assert play.command(0, Act(steps=((VAULT, 0, 1),))) is None  # One is written.
    assert not marks_in(b"".join(play.watcher(0).frames[told:]))


def _check_chain(frames: list[bytes]) -> None:
    """Each frame names the one before it, so that a viewer who lacks one notices."""
    messages = [codec.decode_outbound(frame) for frame in frames]
    for kind in (Private, Delta):
        chain = [message for message in messages if isinstance(message, kind)]
        assert all(one.tick == then.tick - then.step for one, then in pairwise(chain))


@settings(max_examples=50)
@given(PLAYS)
def test_each_frame_names_the_one_before_it(ticks: list[list[Event]]) -> None:
    play = seated()
    for _ in run(play, ticks):
        for watcher in play.watchers.values():
            _check_chain(watcher.frames)


def test_seats_of_one_group_whose_last_frames_differ_get_different_bases() -> None:
    play = seated()
    play.command(0, Act())
    play.command(1, Act(steps=((DEAL, 4, 0b0111),)))
    bases = [codec.decode_outbound(codec.private(0, play.last.private[seat])) for seat in (0, 2)]
    assert [one.tick - one.step for one in bases if isinstance(one, Private)] == [play.now - 1, 4]
    play.command(1, Act(steps=((DEAL, 4, 0b0111),)))
    assert play.last.private[0] is play.last.private[2]  # Now they are the same.
    for watcher in play.watchers.values():
        _check_chain(watcher.frames)


def test_a_seat_may_own_what_it_may_not_see() -> None:
    play = seated()
    assert play.command(0, Act(steps=((DEAL, 1, 0b0010),))) is None  # Seat 0's, shown to seat 1.
    card = _newest(play)
    assert (card.seat, card.audience) == (0, Visibility.PUBLIC)
    assert card.record_number not in play.watcher(0).view.records
    assert play.watcher(1).view.value(card.record_number, 2) is None  # The back is its owner's.
    play.check_views()
