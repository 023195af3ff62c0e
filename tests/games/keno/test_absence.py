"""Seats of players who stay away."""

from __future__ import annotations

import pytest

from gameserver.engine.commands import Reason
from gameserver.games.keno import absence
from gameserver.games.keno.absence import ABSENT_TICKS, EMPTY_TICKS
from gameserver.games.keno.commands import Bet
from gameserver.games.keno.game import KenoGame
from gameserver.games.keno.rounds import PENDING_TICKS_MAX
from gameserver.games.keno.state import Keno, Phase
from tests.games.keno.table_of_keno import make_play, phase_of, reach
from tests.games.play import Play, account_of


def is_open(play: Play[Keno]) -> bool:
    """Say whether the room still takes commands."""
    return play.room.is_open


def test_who_stays_away_loses_the_seat_and_a_sleeping_room_waits_for_its_end_alone() -> None:
    play = make_play("ann", "bob")
    play.lose(0)
    play.lose(1)
    reach(play, Phase.SLEEPING)
    assert len(play.room.seats) == 2
    play.ticks(ABSENT_TICKS)
    assert len(play.room.seats) == 0
    assert phase_of(play) is Phase.SLEEPING
    assert play.room.due_tick == play.state.empty_tick
    play.sit("ann")
    assert play.state.empty_tick == 0
    reach(play, Phase.OPEN)
    play.check_all()


def test_who_comes_back_in_time_keeps_the_seat() -> None:
    play = make_play("ann", "bob")
    play.lose(0)
    play.ticks(ABSENT_TICKS // 2)
    play.lose(1)
    assert play.sit("ann") == 0
    play.ticks(ABSENT_TICKS - 10)
    assert play.room.seats.keys_in_order() == [0, 1]
    play.ticks(ABSENT_TICKS)
    assert play.room.seats.keys_in_order() == [0]
    assert play.state.frees_tick == 0
    play.check_all()


def test_no_seat_is_freed_while_a_bet_is_out() -> None:
    play = make_play("ann", "bob", round_seconds=60)
    play.lose(1)
    gone_tick = play.now + ABSENT_TICKS
    while play.state.closes_tick < gone_tick:
        reach(play, Phase.SHOWN)
        reach(play, Phase.OPEN)
    assert play.command(0, Bet(spots=(1, 2), stake_minor=100)) is None
    play.run_to(max(gone_tick, play.now) + 1)
    assert phase_of(play) is Phase.OPEN
    assert 1 in play.room.seats
    reach(play, Phase.SHOWN)
    play.tick()
    assert 1 not in play.room.seats
    play.check_all()


def test_a_room_full_of_people_who_are_gone_takes_newcomers_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(KenoGame, "seats_max", 3)
    monkeypatch.setattr(absence, "FREED_PER_TICK_MAX", 2)
    play = make_play("ann", "bob", "cat")
    for seat in range(3):
        play.lose(seat)
    assert isinstance(play.try_sit("dan"), Reason)
    play.ticks(ABSENT_TICKS + 400)
    assert len(play.room.seats) == 0
    assert play.sit("dan") == 0
    assert play.room.seat_of(account_of("ann")) is None
    play.check_all()


def test_a_room_in_which_nobody_has_a_seat_any_more_ends() -> None:
    play = make_play("ann")
    assert play.command(0, Bet(spots=(1, 2), stake_minor=100)) is None
    play.leave(0)
    left_tick = play.now
    reach(play, Phase.SLEEPING)
    play.run_to(left_tick + EMPTY_TICKS - 1)
    assert is_open(play)
    play.ticks(2)
    assert not is_open(play)
    play.check_all()


def test_an_empty_room_does_not_end_while_the_wallet_owes_it_a_verdict() -> None:
    play = make_play("ann")
    reach(play, Phase.OPEN)
    play.verdicts_held = True
    play.submit(0, Bet(spots=(1, 2), stake_minor=100))
    play.tick()
    play.leave(0)
    play.run_to(play.now + PENDING_TICKS_MAX + EMPTY_TICKS + 200)
    assert play.room.waits_for_verdicts()
    assert is_open(play)
    play.give_verdicts()
    play.verdicts_held = False
    play.ticks(2 * EMPTY_TICKS)
    assert not is_open(play)
    play.check_all()


def test_a_room_that_nobody_ever_enters_ends() -> None:
    play = make_play()
    play.ticks(EMPTY_TICKS + 1)
    assert not is_open(play)
    play.check_all()


def test_whoever_sits_down_in_time_keeps_the_room() -> None:
    play = make_play()
    play.ticks(EMPTY_TICKS - 20)
    play.sit("ann")
    play.ticks(EMPTY_TICKS + ABSENT_TICKS)
    assert is_open(play)
    play.check_all()
