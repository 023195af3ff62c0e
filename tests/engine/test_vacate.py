"""Seats that time frees: of whom, when, and what is kept of who had them."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from gameserver.engine.commands import Command, Reason
from gameserver.engine.fields import private, public, table
from gameserver.engine.game import Game
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room
from gameserver.engine.ticking import RoomBroken
from tests.games.play import Play, account_of

PATIENCE_TICKS = 10


class Guest(Record):
    """Somebody who waits."""

    word: str = private(1, default="")
    goes_tick: int = public(2, default=0)


class Waiting(Record):
    """Who waits, and how many have gone."""

    gone: int = public(1, default=0)
    guests: Table[int, Guest] = table(2)


class Say(Command, frozen=True, tag=1):
    """Keep a word; or try to have somebody thrown out, which no command may."""

    word: str
    out: int = -1

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Do it."""
        room.state.guests[seat].word = self.word
        if self.out >= 0:
            room.vacate(self.out)


class WaitingRoom(Game[Waiting]):
    """Whoever is absent for so long loses the seat; ``hasty`` does not look who is absent."""

    name = "waiting"
    title = "Waiting"
    seats_max = 2
    state = Waiting
    commands: ClassVar[tuple[type[Command], ...]] = (Say,)

    def __init__(self, *, hasty: bool = False) -> None:
        self.hasty = hasty

    def sit(self, room: Room[Waiting], seat: int) -> Reason | None:
        """Take in a guest."""
        goes_tick = room.now + PATIENCE_TICKS if self.hasty else 0
        room.state.guests.add(seat, Guest(goes_tick=goes_tick), seat=seat)
        return None

    def lose(self, room: Room[Waiting], seat: int) -> None:
        """Begin to count."""
        room.state.guests[seat].goes_tick = room.now + PATIENCE_TICKS

    def regain(self, room: Room[Waiting], seat: int) -> None:
        """Stop counting."""
        room.state.guests[seat].goes_tick = 0

    def leave(self, room: Room[Waiting], seat: int) -> None:
        """Forget a guest."""
        room.state.guests.remove(seat)
        room.state.gone += 1

    def due(self, room: Room[Waiting]) -> int | None:
        """Return when the next guest is out of patience."""
        ticks = (guest.goes_tick for guest in room.state.guests)
        return min((tick for tick in ticks if tick), default=None)

    def pass_time(self, room: Room[Waiting]) -> None:
        """Free the seats of those who did not come back."""
        for seat in room.seats.keys_in_order():
            if 0 < room.state.guests[seat].goes_tick <= room.now:
                room.vacate(seat)


def full() -> Play[Waiting]:
    play = Play(WaitingRoom())
    for name in ("ann", "bob"):
        play.sit(name)
    return play


def test_the_seat_of_who_stays_away_is_freed_for_the_next() -> None:
    play = full()
    assert isinstance(play.try_sit("eve"), Reason)
    play.lose(0)
    play.run_to_due()
    assert play.last.vacated == [0]
    assert play.state.gone == 1
    assert play.room.seat_of(account_of("ann")) is None
    assert play.sit("eve") == 0
    play.check_all()


def test_who_comes_back_in_time_keeps_the_seat() -> None:
    play = full()
    play.lose(0)
    play.ticks(PATIENCE_TICKS - 1)
    assert play.sit("ann") == 0
    play.ticks(PATIENCE_TICKS * 2)
    assert play.state.gone == 0
    play.check_all()


def test_nobody_gets_a_seat_in_the_tick_in_which_time_frees_it() -> None:
    play = full()
    play.lose(0)
    play.ticks(PATIENCE_TICKS - 1)
    assert isinstance(play.try_sit("eve"), Reason)
    assert play.last.vacated == [0]
    assert play.sit("eve") == 0


def test_who_had_the_seat_may_come_again_and_repeat_what_was_asked() -> None:
    play = full()
    assert play.command(0, Say("hello"), 7) is None
    play.lose(0)
    play.run_to_due()
    assert play.sit("ann") == 0
    entries = len(play.journal)
    assert play.command(0, Say("hello"), 7) is None
    assert len(play.journal) == entries
    assert play.room.windows[0].highest == 7


def test_nothing_private_of_who_had_the_seat_reaches_the_next() -> None:
    play = full()
    play.command(0, Say("MARK"))
    play.lose(0)
    play.run_to_due()
    play.sit("eve")
    assert not play.watcher(0).has_seen(b"MARK")
    play.check_all()


def test_time_frees_no_seat_of_who_is_present() -> None:
    play = Play(WaitingRoom(hasty=True))
    play.sit("ann")
    with pytest.raises(RoomBroken, match="present"):
        play.run_to_due()


def test_a_command_frees_no_seat() -> None:
    play = full()
    play.lose(1)
    assert play.command(0, Say("x", out=1)) is not None
    assert play.state.guests[0].word == ""
    assert 1 in play.room.seats
    play.check_all()
