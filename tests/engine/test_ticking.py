"""Tests of ticks: who sits where, what passes with time, and what breaks a room."""

from __future__ import annotations

from typing import Any

import pytest

from gameserver.engine import inputs as i
from gameserver.engine.commands import (
    ROOM_ENDED,
    ROOM_FULL,
    Code,
    Reason,
)
from gameserver.engine.effects import Result
from gameserver.engine.records import NO_SEAT
from gameserver.engine.ticking import LEFT_WINDOWS_MAX, RoomBroken
from tests.engine import toy
from tests.engine.playing import GAME, seated
from tests.engine.test_changes import trace_of
from tests.engine.toy import Act, Buy, Then
from tests.engine.toy_state import Mood
from tests.engine.toy_steps import SEATS_MAX
from tests.games.play import Play, account_of

Steps = tuple[tuple[int, int, int], ...]


# --- The end of a room.


def test_a_room_that_has_ended_refuses_commands_and_newcomers() -> None:
    play = seated()
    assert play.command(0, Act(then=Then.END)) is None
    assert play.last.ended
    assert play.room.due_tick is None
    assert play.command(0, Act()) == ROOM_ENDED
    assert play.try_sit("eve") == ROOM_ENDED
    play.check_replay()


def test_a_room_does_not_end_while_a_command_is_pending() -> None:
    play = seated()
    play.verdicts_held = True
    play.command(0, Buy(5))
    play.check(1, Act(then=Then.END), Code.FAILED)
    play.give_verdicts()
    play.tick()
    play.verdicts_held = False
    play.check(1, Act(then=Then.END), None)


def test_nothing_changes_in_a_room_that_has_ended() -> None:
    play = seated()
    play.asks_held = True
    play.command(2, Act(steps=((3, 0, 0), (2, 0, 0))))
    play.lose(2)
    play.command(0, Act(then=Then.END))
    before = play.snapshot()
    play.put(i.Left(0), i.Lost(1), i.Drawn("ask 0", b"1"), i.Sat(account_of("cat")))
    play.tick_at(play.now + 50)
    assert play.last.seated == {account_of("cat"): 2}  # To be shown how it ended.
    assert play.last.entry is None
    assert play.snapshot() == before


def test_inputs_of_the_very_tick_in_which_a_room_ends_change_nothing_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = seated()
    monkeypatch.setattr(toy.ToyGame, "leave", lambda self, room, seat: room.end())
    play.put(i.Left(0), i.Left(1))
    play.tick()
    assert play.room.seats.keys_in_order() == [1, 2]
    play.check_replay()


# --- Seats.


def test_the_lowest_free_seat_is_given_out_first() -> None:
    play = seated()
    play.leave(1)
    assert play.sit("dan") == 1
    assert play.sit("eve") == 3
    assert play.try_sit("fay") == ROOM_FULL
    assert SEATS_MAX == 4


def test_a_seat_that_was_given_up_is_nobody_elses_within_the_tick() -> None:
    play = seated()
    play.submit(0, Act(steps=((0, 0, 5),)))
    play.put(i.Left(0), i.Sat(account_of("dan")), i.Sat(account_of("eve")))
    play.tick()
    assert play.last.seated == {account_of("dan"): 3}
    assert play.last.refused == {account_of("eve"): ROOM_FULL.code}
    assert [(seat, told.name) for seat, told in play.last.echoes] == [(0, "NOT_SEATED")]
    assert play.state.number == 0
    assert play.sit("eve") == 0


def test_a_refused_seat_leaves_no_trace() -> None:
    play = seated()
    play.command(0, Act(steps=((0, 1, 0),)))  # The flag is up.
    before, entries = trace_of(play.room), len(play.journal)
    assert play.try_sit("dan") == toy.NO_PLACE
    assert trace_of(play.room) == before
    assert play.last.effects == ()
    assert len(play.journal) == entries


def test_sitting_down_clears_what_an_earlier_player_was_shown_before_the_game_may_show_more() -> (
    None
):
    play = seated(tidy=False)
    mine = [card.record_number for card in play.state.cards if card.seen_by & 1]
    assert len(mine) == 1
    play.leave(0)
    play.sit("eve")
    theirs = [card.record_number for card in play.state.cards if card.seen_by & 1]
    assert len(theirs) == 1
    assert mine != theirs


def test_records_that_were_a_seats_before_somebody_sat_there_are_nobodys() -> None:
    play = seated(tidy=False)
    (diary,) = (one for one in play.state.diaries if one.seat == 0)
    play.leave(0)
    assert diary.seat == 0
    play.command(1, Act(steps=((0, 1, 0),)))  # The flag is up: whoever sits down is refused.
    assert play.try_sit("eve") == toy.NO_PLACE
    assert diary.seat == 0
    play.command(1, Act(steps=((0, 1, 1),)))
    assert play.sit("eve") == 0
    assert diary.seat == NO_SEAT
    assert diary.record_number not in play.watcher(0).view.records
    assert [one.seat for one in play.state.diaries if one is not diary] == [1, 2, 0]
    play.check_all()


def test_a_connection_is_lost_and_regained_once() -> None:
    play = seated()
    play.lose(0)
    assert play.state.mood == Mood.CROSS
    entries = len(play.journal)
    play.put(i.Lost(0), i.Lost(9), i.Left(9), i.Drawn("nothing", b""))
    play.tick()
    assert len(play.journal) == entries
    assert play.sit("ann") == 0
    moods = [play.state.mood]
    assert moods == [Mood.CALM]
    assert play.room.seats[0].present


def test_a_recovered_room_has_nobody_connected() -> None:
    play = seated()
    play.recover()
    assert not any(seat.present for seat in play.room.seats)
    assert play.room.wall_ms > 0


def test_only_so_many_windows_of_leavers_are_kept() -> None:
    play = Play(GAME)
    for account in range(LEFT_WINDOWS_MAX + 5):
        play.sit(account + 1)
        play.leave(0)
    assert list(play.room.left) == list(range(6, LEFT_WINDOWS_MAX + 6))
    play.check_snapshot()


# --- Time and what is asked for.


def test_what_is_due_passes_before_the_commands_of_its_tick() -> None:
    play = seated()
    play.command(0, Act(steps=((2, 0, 0),)))
    bell = play.state.bell_tick
    assert play.room.due_tick == bell
    play.submit(0, Act(steps=((0, 6, 0),)))
    play.tick_at(bell)
    assert play.state.bell_tick == 0
    assert [one.round_number for one in play.last.effects if isinstance(one, Result)] == [bell]


def test_skipped_ticks_pass_at_once() -> None:
    play = seated()
    play.command(0, Act(steps=((2, 0, 0),)))
    play.tick_at(play.now + 100)
    assert play.state.bell_tick == 0
    play.check_replay()


def test_a_room_asks_once_and_takes_one_answer() -> None:
    play = seated()
    play.asks_held = True
    play.command(0, Act(steps=((3, 0, 0), (3, 0, 0), (3, 1, 0))))
    assert play.room.asks() == ["ask 0", "ask 1"]
    play.give_drawn("ask 1", b"1111" * 8)
    play.tick()
    assert play.state.data == b"1111"
    assert play.room.asks() == ["ask 0"]


def test_a_tick_without_anything_to_do_is_no_entry() -> None:
    play = seated()
    out = play.room.tick(play.now + 1)
    assert (out.entry, out.shared, out.private, out.effects) == (None, None, {}, ())
    assert play.room.entry_number == len(play.journal)


def test_each_entry_has_a_later_tick() -> None:
    play = seated()
    play.put(i.Lost(0))
    with pytest.raises(RoomBroken, match="later tick"):
        play.tick_at(play.room.entry_tick)


# --- What breaks a room.


@pytest.mark.parametrize("hook", ["sit", "leave", "lose", "regain", "drawn", "due"])
def test_a_hook_that_raises_breaks_the_room_and_nothing_else(hook: str) -> None:
    play = seated(breaks=hook)
    play.lose(2)
    play.asks_held = True
    steps: Steps = ((3, 0, 0), (0, 0, 7))
    if hook == "due":
        play.submit(0, Act(steps=steps))
    else:
        play.command(0, Act(steps=steps))
        causes: dict[str, i.Input] = {
            "sit": i.Sat(account_of("eve")),
            "leave": i.Left(0),
            "lose": i.Lost(0),
            "regain": i.Sat(account_of("cat")),
            "drawn": i.Drawn("ask 0", b""),
        }
        play.put(causes[hook])
    with pytest.raises(RoomBroken, match=f"tick {play.now + 1}.*{hook} is broken"):
        play.tick()


def test_an_opening_that_raises_breaks_the_room() -> None:
    with pytest.raises(RoomBroken, match="open is broken"):
        Play(GAME, settings={"breaks": "open"})


@pytest.mark.parametrize(
    ("breaks", "why"),
    [
        ("pass_time", "pass_time is broken"),
        ("idle", "Time was due, and nothing passed"),
    ],
)
def test_a_timer_that_raises_or_does_nothing_breaks_the_room(breaks: str, why: str) -> None:
    play = seated(breaks=breaks)
    play.command(0, Act(steps=((2, 0, 0), (0, 0, 7))))
    with pytest.raises(RoomBroken, match=why):
        play.run_to_due()


def test_a_due_time_that_writes_breaks_the_room() -> None:
    play = seated(breaks="due writes")
    play.submit(0, Act(steps=((0, 0, 7),)))
    with pytest.raises(RoomBroken, match="due writes nothing"):
        play.tick()


def test_a_granted_or_rollback_that_raises_breaks_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Buy, room: Any, seat: int, reference: str) -> None:
        raise LookupError("broken")

    for name, amount in (("granted", 5), ("rollback", 5_000_000)):
        play = seated()
        play.command(0, Buy(amount))
        with monkeypatch.context() as patched:
            patched.setattr(Buy, name, broken)
            with pytest.raises(RoomBroken):
                play.tick()


def test_a_room_opens_once() -> None:
    play = seated()
    play.put(i.Opened(b"", bytes(32), 0))
    with pytest.raises(RoomBroken, match="opens once"):
        play.tick()


def test_a_player_who_is_seated_past_the_engine_breaks_the_room() -> None:
    play = seated()
    play.room.seats.remove(0)
    play.submit(1, Act())
    with pytest.raises(RoomBroken, match="engine alone"):
        play.tick()


def test_an_effect_needs_a_change_that_it_comes_with() -> None:
    play = seated()
    play.room.result(1, b"")
    with pytest.raises(RoomBroken, match="without a change"):
        play.room.tick(play.now + 1)


def test_reasons_of_a_game_have_codes_of_their_own() -> None:
    class Clashing(toy.ToyGame):
        reasons = (Reason(5, "MINE"),)

    class Doubled(toy.ToyGame):
        reasons = (Reason(100, "ONE"), Reason(100, "TWO"))

    class Large(toy.ToyGame):
        reasons = (Reason(40_000, "LARGE"),)

    for game in (Clashing(), Doubled(), Large()):
        with pytest.raises(ValueError, match="code is taken"):
            Play(game)
