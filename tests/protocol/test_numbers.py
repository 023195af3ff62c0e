"""Where a client's command numbers begin and go on, and what is said of repeated ones."""

import asyncio

import pytest

from protocol.client import Answer, AnswerTimeout, CommandInvalid
from protocol.client.commands import Commands
from protocol.client.options import Counters, Options
from protocol.codec import decode_inbound
from protocol.messages import Command, Invalid, InvalidCode
from tests.virtual import virtual

GAP = 1_000


def commands(sent: list[bytes]) -> Commands:
    return Commands(1, Options(number_gap=lambda: GAP), Counters(), sent.append)


def numbers(sent: list[bytes]) -> list[int]:
    messages = [decode_inbound(payload) for payload in sent]
    return [message.number for message in messages if isinstance(message, Command)]


@virtual
async def test_a_device_begins_somewhere_above_the_highest_number_of_the_seat() -> None:
    sent: list[bytes] = []
    mine = commands(sent)
    mine.resume(7)
    assert [mine.submit([1], None, 1_000) for _ in range(2)] == [7 + 1 + GAP, 7 + 2 + GAP]
    assert numbers(sent) == [7 + 1 + GAP, 7 + 2 + GAP]


@virtual
async def test_a_device_that_was_alone_goes_on_without_a_gap() -> None:
    mine = commands([])
    mine.resume(0)
    first = mine.submit([1], None, 1_000)
    mine.pause()
    mine.resume(first)
    assert mine.submit([1], None, 1_000) == first + 1


@virtual
async def test_a_number_given_while_away_is_never_that_of_another_device() -> None:
    sent: list[bytes] = []
    one, other = commands(sent), commands(sent)
    one.resume(0)
    highest = one.submit([1], None, 1_000)
    one.pause()
    given_away = one.submit([2], None, 1_000)
    other.resume(highest)
    theirs = other.submit([3], None, 1_000)
    assert theirs > given_away
    sent.clear()
    one.resume(theirs)
    assert numbers(sent) == [highest, given_away]
    assert one.unanswered == 2


@pytest.mark.parametrize("code", [InvalidCode.NOT_IN_ROOM, InvalidCode.NOT_SEATED])
@virtual
async def test_who_is_not_there_any_more_cannot_say_that_a_command_was_never_taken(
    code: InvalidCode,
) -> None:
    answers: list[Answer] = []
    mine = commands([])
    mine.resume(0)
    number = mine.submit([1], answers.append, 1_000)
    mine.pause()
    mine.resume(0)
    mine.take_invalid(Invalid(1, number, code, code.name, ""))
    assert answers == []
    await asyncio.sleep(2)
    assert [type(answer) for answer in answers] == [AnswerTimeout]


@virtual
async def test_a_command_that_is_malformed_was_so_whenever_it_was_sent() -> None:
    answers: list[Answer] = []
    mine = commands([])
    mine.resume(0)
    number = mine.submit([1], answers.append, 1_000)
    mine.pause()
    mine.resume(0)
    code = InvalidCode.MALFORMED
    mine.take_invalid(Invalid(1, number, code, code.name, "$[0]"))
    assert [type(answer) for answer in answers] == [CommandInvalid]


@virtual
async def test_a_command_that_was_sent_once_and_refused_at_the_door_was_not_taken() -> None:
    answers: list[Answer] = []
    mine = commands([])
    mine.resume(0)
    number = mine.submit([1], answers.append, 1_000)
    code = InvalidCode.NOT_SEATED
    mine.take_invalid(Invalid(1, number, code, code.name, ""))
    assert [type(answer) for answer in answers] == [CommandInvalid]
