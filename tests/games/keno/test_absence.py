"""Seats of players who stay away."""

from __future__ import annotations

import pytest

from gameserver.engine.commands import Reason
from gameserver.games.keno import absence
from gameserver.games.keno.absence import ABSENT_TICKS
from gameserver.games.keno.commands import Bet
from gameserver.games.keno.game import KenoGame
from gameserver.games.keno.state import Phase
from tests.games.keno.table_of_keno import make_play, phase_of, reach
from tests.games.play import account_of


def test_who_stays_away_loses_the_seat_and_a_sleeping_room_costs_nothing_again() -> None:
    play = make_play("ann", "bob")
    play.lose(0)
    play.lose(1)
    reach(play, Phase.SLEEPING)
    assert len(play.room.seats) == 2
    play.ticks(ABSENT_TICKS)
    assert len(play.room.seats) == 0
    assert phase_of(play) is Phase.SLEEPING
    assert play.room.due_tick is None
    play.sit("ann")
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
