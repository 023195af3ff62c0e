"""Tests of the inbox: bounded, in order, and fair to every seat."""

from __future__ import annotations

from gameserver.engine.inbox import COMMANDS_MAX, COMMANDS_PER_SEAT_MAX, Inbox
from gameserver.engine.inputs import Commanded, Left, Lost, Sat
from gameserver.engine.window import body_digest
from tests.engine.toy import Act


def _command(seat: int, number: int, body: bytes = b"body") -> Commanded:
    return Commanded(seat, number, 0, body, body_digest(body), Act())


def test_what_waits_is_taken_once_in_order_of_arrival() -> None:
    inbox = Inbox()
    assert not inbox
    commands = [_command(1, 1), _command(0, 1), _command(1, 2)]
    for command in commands:
        assert inbox.submit(command)
    inbox.put(Sat(5))
    inbox.put(Lost(1))
    assert inbox
    assert inbox.take() == ([Sat(5), Lost(1)], commands)
    assert not any(inbox.take())


def test_a_repeat_takes_no_second_place() -> None:
    inbox = Inbox()
    for _ in range(COMMANDS_PER_SEAT_MAX + 5):
        assert inbox.submit(_command(0, 1))
    assert len(inbox.commands) == 1


def test_a_seat_has_so_many_places_and_leaves_the_others_theirs() -> None:
    inbox = Inbox()
    for number in range(COMMANDS_PER_SEAT_MAX):
        assert inbox.submit(_command(0, number))
    assert not inbox.submit(_command(0, COMMANDS_PER_SEAT_MAX))
    assert inbox.submit(_command(0, 3))  # It waits already.
    assert inbox.submit(_command(1, 1))


def test_other_commands_under_one_number_take_places_of_their_own() -> None:
    inbox = Inbox()
    taken = [inbox.submit(_command(0, 1, b"%d" % at)) for at in range(COMMANDS_MAX)]
    assert sum(taken) == COMMANDS_PER_SEAT_MAX
    assert inbox.submit(_command(1, 1))


def test_a_full_inbox_takes_no_more_commands_but_all_other_inputs() -> None:
    inbox = Inbox()
    seats = COMMANDS_MAX // COMMANDS_PER_SEAT_MAX
    for seat in range(seats):
        for number in range(COMMANDS_PER_SEAT_MAX):
            assert inbox.submit(_command(seat, number))
    assert not inbox.submit(_command(seats, 1))
    assert inbox.submit(_command(0, 1))  # It waits already.
    inbox.put(Left(0))
    assert len(inbox.take()[1]) == COMMANDS_MAX
    assert inbox.submit(_command(seats, 1))


def test_commands_can_be_given_back_while_inputs_wait_on() -> None:
    inbox = Inbox()
    command = _command(0, 1)
    inbox.submit(command)
    inbox.put(Sat(5))
    assert inbox.take_commands() == [command]
    assert inbox.submit(command)
    assert inbox.take() == ([Sat(5)], [command])
