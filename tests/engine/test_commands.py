"""Tests of commands: what they leave behind, whatever becomes of them, and what their holds do."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gameserver.engine import inputs as i
from gameserver.engine import records, snapshot
from gameserver.engine.commands import (
    INSUFFICIENT_FUNDS,
    WALLET_BUSY,
    Code,
)
from gameserver.engine.effects import Hold
from gameserver.engine.ticking import RoomBroken
from gameserver.engine.window import body_digest
from protocol import codec
from protocol.messages import Private
from tests.engine import toy
from tests.engine.playing import GAME, PLAYS, STEPS, Event, run, seated
from tests.engine.test_changes import trace_of
from tests.engine.toy import Act, Buy, CarelessGame, Then
from tests.games.play import Play, account_of

FAILING = (
    *(Then.RAISE, Then.VALIDATE_RAISES, Then.VALIDATE_WRITES, Then.VALIDATE_WRITES_AND_REFUSES),
    *(Then.VALIDATE_SETTLES, Then.REFUSE_UNLISTED, Then.RECURSE, Then.HOLD_AND_RAISE),
    *(Then.HOLD_TWICE, Then.HOLD_NOTHING, Then.SETTLE_LESS_THAN_NOTHING),
)

Steps = tuple[tuple[int, int, int], ...]


# --- What a command leaves behind.


@settings(max_examples=100)
@given(PLAYS.filter(lambda ticks: len(ticks) < 5), STEPS, st.sampled_from((*FAILING, Then.REFUSE)))
def test_a_refused_or_failing_command_leaves_no_trace_but_its_outcome(
    ticks: list[list[Event]], steps: Steps, then: Then
) -> None:
    play = seated()
    for _ in run(play, ticks):
        pass
    assume(len(play.room.seats))
    play.ticks(2)  # Verdicts are taken in, and what was asked for is given.
    due = play.room.due_tick
    assume(due is None or due > play.now + 1)  # Time is not to pass in the very tick.
    seat = play.room.seats.keys_in_order()[0]
    before, told = trace_of(play.room), {who: len(w.frames) for who, w in play.watchers.items()}
    play.submit(seat, Act(steps, then))
    play.tick()
    assert trace_of(play.room) == before
    out = play.last
    assert (out.shared, out.effects, out.pending) == (None, (), ())
    assert list(out.private) == [seat]
    message = codec.decode_outbound(codec.private(0, out.private[seat]))
    assert isinstance(message, Private)
    assert message.changes == []
    kind = (1, 100, "TOLD_TO", "then") if then is Then.REFUSE else (2, 0, "FAILED", "")
    (said,) = message.outcomes
    assert (said.kind, said.code, said.name, said.field) == kind
    assert all(len(w.frames) == told[who] for who, w in play.watchers.items() if who != seat)
    play.check_replay()


def test_whatever_line_of_a_write_raises_the_command_leaves_no_trace() -> None:
    play = seated()
    fill = ((6, 0, 4), (9, 0, 1), (9, 0, 2), (7, 1, 0), (8, 1, 3), (11, 1, 0), (5, 1, 1))
    work = (
        (5, 0, 1),
        (6, 0, 7),
        (9, 3, 1),
        (10, 0, 9),
        (8, 2, 6),
        (10, 1, 2),
        (11, 0, 1),
        (4, 0, 0),
    )
    play.command(0, Act(steps=fill))
    taken = play.snapshot()
    body = Act(steps=work, then=Then.HOLD_AND_RAISE)
    lines = 0
    while True:
        room = snapshot.load(GAME, taken)
        before = trace_of(room)
        lines += 1
        raised = _tick_with_error_at(room, body, lines)
        assert trace_of(room) == before, f"line event {lines}"
        if not raised:
            break
    assert lines > 200


def _tick_with_error_at(room: Any, act: Act, count: int) -> bool:
    """Tick once; the ``count``-th line of records.py that runs within ``execute`` raises."""
    left, inside, raised = count, False, False

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left, inside, raised
        if frame.f_code.co_filename == toy.__file__ and frame.f_code.co_name == "execute":
            inside = event != "return"
        elif inside and event == "line" and frame.f_code.co_filename == records.__file__:
            left -= 1
            if left == 0:
                inside, raised = False, True
                raise MemoryError
        return trace

    body = _body(act)
    command = i.Commanded(0, 99, 0, body, body_digest(body), room.decode(body))
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        out = room.tick(room.now + 1, [], [command])
    finally:
        sys.settrace(before)
    assert [code for _, code, _ in out.counts] == [Code.FAILED]
    return raised


def _body(command: Any) -> bytes:
    return msgspec.msgpack.encode(command)


@pytest.mark.parametrize("then", FAILING)
def test_a_command_that_does_what_none_should_fails(then: Then) -> None:
    play = seated()
    play.check(0, Act(steps=((0, 0, 5),), then=then), Code.FAILED)
    assert play.state.number == 0
    play.check(0, Act(steps=((0, 0, 5),)), None)


def test_a_failed_command_takes_neither_record_numbers_nor_dice_nor_holds() -> None:
    def played(then: Then) -> Any:
        play = seated()
        play.command(0, Act(steps=((4, 0, 0), (7, 1, 0)), then=then))
        play.command(1, Act(steps=((4, 0, 0), (7, 1, 0))))
        play.command(1, Buy(5))
        room = play.room
        return room.changes.next_number, room.dice.position, room.system.holds

    assert played(Then.HOLD_AND_RAISE) == played(Then.REFUSE)


# --- Holds and verdicts.


def test_a_granted_hold_lets_the_command_stand() -> None:
    play = seated()
    assert play.command(0, Buy(5)) is None
    assert play.effects == [Hold("4242424242.1", account_of("ann"), 5)]
    assert play.room.waits_for_verdicts()
    assert play.room.pending_references() == ["4242424242.1"]
    play.tick()
    assert not play.room.waits_for_verdicts()
    assert play.state.purchases["4242424242.1"].stands


def test_a_refused_hold_is_rolled_back() -> None:
    play = seated()
    play.check(0, Buy(5_000_000), INSUFFICIENT_FUNDS)
    assert play.state.spent_minor == 0


def test_an_empty_rollback_is_noticed() -> None:
    careless = Play(CarelessGame())
    careless.sit("ann")
    with pytest.raises(AssertionError, match="was not rolled back whole"):
        careless.check(0, Buy(5_000_000), INSUFFICIENT_FUNDS)


def test_rollback_takes_back_nothing_that_came_after() -> None:
    play = seated()
    play.verdicts_held = True
    play.command(0, Buy(5_000_000))
    play.command(0, Buy(7))
    play.command(1, Act(steps=((0, 0, 5),)))
    play.give_verdicts()
    play.verdicts_held = False
    play.tick()
    assert (play.state.number, play.state.spent_minor) == (5, 7)
    assert [purchase.price_minor for purchase in play.state.purchases] == [7]
    play.check_all()


def test_a_verdict_comes_once_and_only_to_what_is_pending() -> None:
    play = seated()
    play.command(0, Buy(5))
    play.tick()
    before = len(play.journal)
    play.put(i.Ruled("4242424242.1", 1), i.Ruled("nothing", 0))
    play.tick()
    assert len(play.journal) == before


def test_a_verdict_reaches_a_player_who_left_and_came_back_elsewhere() -> None:
    play = seated()
    play.verdicts_held = True
    number = play.submit(0, Buy(5_000_000))
    play.tick()
    tick = play.now
    play.leave(0)
    play.sit("eve")  # Now somebody else has the seat.
    play.give_verdicts()
    play.tick()
    assert play.state.spent_minor == 0
    assert play.sit("ann") == 3
    play.submit(3, Buy(5_000_000), number)
    play.tick()
    ((seat, told),) = list(play.last.echoes)
    assert (seat, told.number, told.tick, told.name) == (3, number, tick, "INSUFFICIENT_FUNDS")
    play.check_replay()


def test_a_verdict_that_no_reason_explains_breaks_the_room() -> None:
    play = seated()
    play.verdicts_held = True
    play.command(0, Buy(5))
    play.put(i.Ruled("4242424242.1", 77))
    with pytest.raises(RoomBroken, match="verdict"):
        play.tick()
    assert WALLET_BUSY.code in play.room.reasons
