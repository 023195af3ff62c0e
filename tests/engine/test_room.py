"""Tests of what a room offers: full states, settings, and effects that the database can take."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest

from gameserver.engine import inputs as i
from gameserver.engine.effects import Booking, Release, Result, Score, Settle
from gameserver.engine.fields import Visibility, public
from gameserver.engine.records import Record
from gameserver.engine.room import Room, decode_settings
from tests.engine.playing import GAME, expected_view, seated
from tests.engine.toy import Act, Then, ToyGame
from tests.games.play import ROOM_ID, account_of


def test_nothing_in_a_tick_waits() -> None:
    methods = [value for value in vars(Room).values() if callable(value)]
    assert not any(inspect.iscoroutinefunction(method) for method in methods)


def test_the_full_state_is_as_of_now_whatever_was_asked_before() -> None:
    play = seated()
    for number in range(3):
        play.room.full(None)
        play.command(0, Act(steps=((0, 0, number + 1),)))
        play.check_views()
    play.room.tick(play.now + 1)  # Nothing happens in it.
    public_changes, private_changes = play.room.full(0)
    assert public_changes == play.room.full(None)[0]
    assert private_changes != play.room.full(None)[1] == b"\x90"


def test_the_full_state_of_a_seat_that_nobody_has_is_the_watchers() -> None:
    play = seated()
    assert play.room.full(3) == play.room.full(None)


def test_a_verdict_changes_the_full_state_too() -> None:
    play = seated()
    play.room.full(None)
    play.put(i.Lost(0))
    play.tick()
    assert play.watchers[None].view.dump() == expected_view(play.room, None)
    play.check_views()


def test_settings_are_decoded_strictly() -> None:
    assert decode_settings(GAME, b"").tidy
    assert not decode_settings(GAME, msgspec.msgpack.encode({"tidy": False})).tidy
    for wrong in ({"tidy": 1}, {"colour": 1}, {"breaks": "x" * 21}, [1]):
        with pytest.raises(msgspec.ValidationError):
            decode_settings(GAME, msgspec.msgpack.encode(wrong))


def test_a_body_that_is_no_command_is_refused() -> None:
    room: Room[Any] = seated().room
    for body in (
        b"",
        b"\xc0",
        b"\x91\x09",
        b"\x91\x01" * 2,
        b"\x92\x01\x05",
        b"\x93\x01\x90\x20",
        b"\x94\x01\x90\x00\x00",
    ):
        with pytest.raises(msgspec.DecodeError):
            room.decode(body)
    assert room.decode(b"\x93\x01\x90\x00") == Act(then=Then.NOTHING)


def test_effects_say_whose_and_which_they_are() -> None:
    room = seated().room
    room.settle("1.1", 0)
    room.release("1.2")
    room.book(3, -7)
    room.result(3, b"result")
    room.score(3, 1, -5)
    bob = account_of("bob")
    assert room.effects == [
        Settle("1.1", 0),
        Release("1.2"),
        Booking(f"{ROOM_ID}#3", -7),
        Result(3, b"result"),
        Score(f"{ROOM_ID}#3@{bob}", bob, -5),
    ]


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 2**53, -(2**53)])
def test_effects_with_values_that_would_poison_a_commit_are_refused(value: Any) -> None:
    room = seated().room
    effects: tuple[Any, ...] = (
        lambda: room.settle("1.1", value),
        lambda: room.book(1, value),
        lambda: room.score(1, 0, value),
        lambda: room.result(value, b""),
    )
    for effect in effects:
        with pytest.raises(ValueError, match="is no int"):
            effect()
    with pytest.raises(AssertionError, match="bytes"):
        room.result(1, "text")  # type: ignore[arg-type]
    assert not room.effects


def test_a_hold_is_asked_for_by_a_command_alone() -> None:
    with pytest.raises(AssertionError, match="Only a command"):
        seated().room.hold(5)


class Hidden(Record, audience=Visibility.PRIVATE):
    """A root that not all may see."""

    value: int = public(1, default=0)


def test_the_root_of_a_state_is_for_everybody() -> None:
    class HiddenGame(ToyGame):
        state: Any = Hidden

    with pytest.raises(TypeError, match="for everybody"):
        Room(HiddenGame(), 1)
