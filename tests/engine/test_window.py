"""Tests of command numbers: a repeat gets the outcome of the first time, whatever has passed."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.commands import CODE_MAX, NUMBER_REUSED, NUMBER_TOO_OLD, Code, Outcome
from gameserver.engine.window import WINDOW_NUMBERS, Known, Window, body_digest
from protocol import codec
from protocol.messages import Private
from tests.engine.playing import GAME, seated
from tests.engine.toy import TOLD_TO, Act, Buy, Then
from tests.engine.toy_state import Toy
from tests.games.play import Play


def _told(play: Play[Toy], seat: int) -> list[tuple[int, int, int, str]]:
    """Return what a seat was told by the last tick: (number, tick, kind, name) each."""
    told = [outcome for echoed, outcome in play.last.echoes if echoed == seat]
    if seat in play.last.private:
        message = codec.decode_outbound(codec.private(0, play.last.private[seat]))
        assert isinstance(message, Private)
        told = [Outcome(*_fields(one)) for one in message.outcomes] + told
    return [(one.number, one.tick, one.kind, one.name) for one in told]


def _fields(one: Any) -> tuple[int, int, int, int, str, str]:
    return (one.number, one.tick, one.kind, one.code, one.name, one.field)


CASES = [(Act(steps=((0, 0, 5),)), 0, ""), (Act(then=Then.REFUSE), 1, "TOLD_TO")]
CASES.append((Act(then=Then.RAISE), 2, "FAILED"))


@pytest.mark.parametrize(("command", "kind", "name"), CASES)
def test_a_repeat_gets_the_same_outcome_with_the_same_tick(
    command: Act, kind: int, name: str
) -> None:
    play = seated()
    play.submit(0, command, 5)
    play.tick()
    first = (5, play.now, kind, name)
    assert _told(play, 0) == [first]
    play.ticks(10)

    def repeat(seat: int) -> None:
        before = play.snapshot()
        play.submit(seat, command, 5)
        play.tick()
        assert _told(play, seat) == [first]
        assert play.last.entry is None
        assert play.snapshot() == before

    repeat(0)
    play.room = snapshot.load(GAME, play.snapshot())
    repeat(0)
    play.lose(0)
    play.sit("ann")
    repeat(0)
    play.leave(0)
    play.sit("dan")
    assert play.sit("ann") == 3
    repeat(3)
    play.recover()
    play.sit("ann")
    repeat(3)


def test_a_repeat_within_the_tick_is_not_done_twice() -> None:
    play = seated()
    body = Act(steps=((4, 0, 0),))
    for _ in range(3):
        play.submit(0, body, 1)
    play.tick()
    assert _told(play, 0) == [(1, play.now, 0, "")] * 3
    assert play.room.dice.position == 1
    play.check_replay()


def test_another_command_under_a_known_number_is_refused_and_the_first_stands() -> None:
    play = seated()
    play.command(0, Act(steps=((0, 0, 5),)), 1)
    assert play.command(0, Act(steps=((0, 0, 6),)), 1) == NUMBER_REUSED
    assert play.state.number == 5
    play.submit(0, Act(steps=((0, 0, 7),)), 2)
    play.submit(0, Act(steps=((0, 0, 8),)), 2)
    play.tick()
    assert [name for *_, name in _told(play, 0)] == ["", "NUMBER_REUSED"]
    assert play.state.number == 7


def test_a_pending_command_is_answered_by_its_verdict_and_not_before() -> None:
    play = seated()
    play.verdicts_held = True
    play.submit(0, Buy(5), 1)
    play.tick()
    tick = play.now
    assert _told(play, 0) == []
    play.submit(0, Buy(5), 1)
    play.submit(0, Buy(6), 1)
    play.tick()
    assert _told(play, 0) == [(1, play.now, 1, "NUMBER_REUSED")]
    play.give_verdicts()
    play.submit(0, Buy(5), 1)
    play.tick()
    assert _told(play, 0) == [(1, tick, 0, "")]
    assert play.room.system.holds == 1


def test_numbers_out_of_the_window_are_too_old() -> None:
    play = seated()
    for number in range(1, WINDOW_NUMBERS + 2):
        play.submit(0, Act(), number)
    play.tick()
    assert play.command(0, Act(), 1) == NUMBER_TOO_OLD
    assert play.command(0, Act(), 2) is None  # A repeat.
    assert play.last.entry is None
    assert play.room.windows[0].highest == WINDOW_NUMBERS + 1


def test_a_number_below_a_full_window_is_too_old_although_it_was_never_used() -> None:
    play = seated()
    for number in range(100, 100 + WINDOW_NUMBERS):
        play.submit(0, Act(), number)
    play.tick()
    assert play.command(0, Act(steps=((0, 0, 5),)), 50) == NUMBER_TOO_OLD
    assert play.state.number == 0


def test_numbers_may_come_in_any_order_while_the_window_has_room() -> None:
    play = seated()
    for number in (9, 3, 7, 2**53 - 1, 5):
        assert play.command(0, Act(then=Then.REFUSE), number) == TOLD_TO
    assert _numbers(play.room.windows[0]) == [3, 5, 7, 9, 2**53 - 1]
    assert play.command(0, Act(then=Then.REFUSE), 3) == TOLD_TO
    assert play.last.entry is None


def test_a_seat_has_its_own_numbers() -> None:
    play = seated()
    play.submit(0, Act(), 1)
    play.submit(1, Act(then=Then.REFUSE), 1)
    play.tick()
    assert [told[3] for seat in (0, 1) for told in _told(play, seat)] == ["", "TOLD_TO"]


def test_a_command_of_nobody_is_told_so_and_not_recorded() -> None:
    play = seated()
    body = b"\x92\x01\x90"
    command = i.Commanded(9, 1, 0, body, body_digest(body), play.room.decode(body))
    out = play.room.tick(play.now + 1, [], [command])
    assert [(seat, told.name) for seat, told in out.echoes] == [(9, "NOT_SEATED")]
    assert out.entry is None


def _numbers(window: Window) -> list[int]:
    return [known.number for known in window]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 200), st.booleans()), max_size=300))
def test_a_window_knows_what_it_says_it_knows(asked: list[tuple[int, bool]]) -> None:
    window, done = Window(), dict[int, int]()
    for tick, (number, reload) in enumerate(asked):
        if reload:
            window = Window.load(window.dump())
        held = window.find(number)
        if held is not None:
            assert held == Known(number, 2**32 - number, number - 2, done[number])
        elif window.is_too_old(number):
            # Never wrongly: it was done and dropped, or there are 64 above it.
            assert sum(other > number for other in done) >= WINDOW_NUMBERS
        else:
            assert number not in done  # Nothing is done twice.
            done[number] = tick
            window.keep(number, 2**32 - number, number - 2, tick)
            assert window.find(number) is not None
        assert _numbers(window) == sorted(done)[-WINDOW_NUMBERS:]
        assert window.highest == max(done, default=0)


@pytest.mark.parametrize("code", [*Code, CODE_MAX])
def test_a_window_keeps_the_largest_values(code: int) -> None:
    window, row = Window(), Known(2**53 - 1, 2**32 - 1, code, 2**48 - 1)
    window.keep(row.number, row.digest, row.code, row.tick)
    window.keep(1, 0, code, 0)
    assert list(window) == [Known(1, 0, code, 0), row]


def test_a_number_is_not_found_where_other_values_look_like_it() -> None:
    window = Window()
    window.keep(1, 0, Code.ACCEPTED, 2 << 32)  # From its tick on it reads like the number 2.
    window.keep(3, 0, Code.ACCEPTED, 9)
    assert window.find(2 << 32) is None
    assert window.find(2) is None


def test_a_verdict_replaces_a_pending_code_if_the_number_is_still_known() -> None:
    window = Window()
    window.keep(1, 8, Code.PENDING, 7)
    window.rule(1, 3)
    window.rule(2, 3)
    assert list(window) == [Known(1, 8, 3, 7)]


def test_a_full_window_takes_a_kibibyte_and_a_half_at_most() -> None:
    window = Window()
    for number in range(1, 10 * WINDOW_NUMBERS):
        window.keep(number, 2**32 - 1, 0, 10_000 + number)
    parts = (window, *(getattr(window, name) for name in Window.__slots__))
    assert sum(map(sys.getsizeof, parts)) < 1536


def _row(number: int) -> bytes:
    return number.to_bytes(8, "little") + bytes(12)


@pytest.mark.parametrize(
    "rows",
    [
        _row(2) + _row(1),
        _row(1) + _row(1),
        _row(0),
        _row(10),
        _row(1)[:-1],
        b"".join(map(_row, range(1, 66))),
    ],
)
def test_a_stored_window_is_in_order(rows: bytes) -> None:
    assert Window.load((9, 1, _row(9))).find(9) == Known(9, 0, -2, 0)
    with pytest.raises(ValueError, match="command numbers"):
        Window.load((9, 1, rows))
