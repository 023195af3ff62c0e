"""Every command of the quiz: when it is accepted, and each reason why it may be refused."""

import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.games.quiz import commands as c
from gameserver.games.quiz.commands import Answer, Buzz, Choose, Pass, Ready, Select
from gameserver.games.quiz.state import NOBODY, Phase
from tests.games.quiz.setting import (
    at_answer,
    at_open_buzzers,
    begin,
    go_to,
    make_room,
    phase_of,
    score,
    the_answer,
)


def test_ready() -> None:
    play = make_room("ann", "ben")
    ann, ben = play.seat("ann"), play.seat("ben")
    play.check(ann, Ready(), None)
    play.check(ann, Ready(), c.READY_ALREADY)
    play.check(ben, Ready(), None)
    assert phase_of(play) is Phase.DRAWING
    play.check(ben, Ready(), c.NOT_BETWEEN_ROUNDS)
    assert phase_of(play) is Phase.SELECTING
    play.check(ben, Ready(), c.NOT_BETWEEN_ROUNDS)
    assert play.state.ready_seats == 0


def test_ready_is_refused_after_the_last_round() -> None:
    play = begin("ann", "ben", mode="choice", questions=1, rounds_max=1)
    go_to(play, Phase.STANDINGS)
    play.check(0, Ready(), c.NOT_BETWEEN_ROUNDS)


def test_select() -> None:
    play = begin("ann", "ben", categories=2)
    selector = play.state.control
    other = 1 - selector
    play.check(other, Select(0, 1), c.NOT_IN_CONTROL)
    play.check(selector, Select(2, 1), c.NO_SUCH_CATEGORY)
    play.check(selector, Select(1, 3), None)
    assert phase_of(play) is Phase.READING
    assert play.state.shown.value == 300
    assert play.state.shown.category == play.state.categories[1].name
    play.check(selector, Select(0, 1), c.NOT_SELECTING)
    go_to(play, Phase.SELECTING)
    play.check(selector, Select(1, 3), c.CLUE_TAKEN)
    play.check(selector, Select(0, 3), None)


def test_reasons_of_select_come_in_the_stated_order() -> None:
    play = make_room("ann", "ben")
    play.check(0, Select(5, 1), c.NOT_SELECTING)
    play = begin("ann", "ben", categories=1)
    play.check(1 - play.state.control, Select(5, 1), c.NOT_IN_CONTROL)


def test_buzz() -> None:
    play = at_open_buzzers("ann", "ben", "cat")
    ann, ben, cat = 0, 1, 2
    play.check(ann, Buzz(), None)
    assert phase_of(play) is Phase.ANSWERING
    assert play.state.answering == ann
    play.check(ann, Buzz(), c.BUZZED_ALREADY)
    play.check(ben, Buzz(), c.BEATEN)
    play.check(ann, Answer("no idea"), None)
    play.check(ann, Buzz(), c.OUT_OF_CLUE)
    play.check(cat, Buzz(), None)
    play.check(cat, Answer(the_answer(play)), None)
    play.check(ben, Buzz(), c.BUZZERS_CLOSED)


def test_buzz_is_refused_while_a_clue_is_selected() -> None:
    play = begin("ann", "ben")
    play.check(0, Buzz(), c.BUZZERS_CLOSED)


def test_an_early_buzz_is_accepted_and_locks_out() -> None:
    play = begin("ann", "ben")
    play.check(play.state.control, Select(0, 1), None)
    play.check(0, Buzz(), None)
    assert phase_of(play) is Phase.READING
    assert play.state.players[0].early == 1
    assert play.state.players[0].buzzes == 0
    assert play.state.players[0].locked_tick == play.now + 5


def test_answer() -> None:
    play = at_answer("ann", "ben")
    play.check(1, Answer("x"), c.NOT_ANSWERING)
    play.check(0, Answer("   "), c.TEXT_BLANK)
    play.check(0, Answer("a\nb"), c.TEXT_UNSHOWABLE)
    play.check(0, Answer("a\u202eb"), c.TEXT_UNSHOWABLE)
    play.check(0, Answer("\x00"), c.TEXT_UNSHOWABLE)
    play.check(0, Answer(the_answer(play)), None)
    play.check(0, Answer("x"), c.NOT_ANSWERING)


def test_reasons_of_answer_come_in_the_stated_order() -> None:
    play = at_answer("ann", "ben")
    play.check(1, Answer(" "), c.NOT_ANSWERING)
    play.check(0, Answer(" \u2028"), c.TEXT_BLANK)


def test_pass() -> None:
    play = begin("ann", "ben", "cat")
    play.check(0, Pass(), c.BUZZERS_CLOSED)
    go_to(play, Phase.READING)
    play.check(0, Pass(), c.BUZZERS_CLOSED)
    go_to(play, Phase.OPEN)
    play.check(0, Pass(), None)
    play.check(0, Pass(), c.OUT_OF_CLUE)
    play.check(0, Buzz(), c.OUT_OF_CLUE)
    play.check(1, Pass(), None)
    assert phase_of(play) is Phase.OPEN
    play.check(2, Pass(), None)
    assert phase_of(play) is Phase.REVEAL
    assert [score(play, name) for name in ("ann", "ben", "cat")] == [0, 0, 0]


def test_choose() -> None:
    play = begin("ann", "ben", mode="choice")
    assert phase_of(play) is Phase.READING
    play.check(0, Choose(0), c.NOT_CHOOSING)
    go_to(play, Phase.CHOOSING)
    play.check(0, Choose(0), None)
    play.check(0, Choose(1), c.CHOSEN_ALREADY)
    late = play.sit("cat")
    play.check(late, Choose(0), c.OUT_OF_CLUE)
    play.check(1, Choose(3), None)
    assert phase_of(play) is Phase.REVEAL
    play.check(1, Choose(3), c.NOT_CHOOSING)


def test_multiple_choice_has_no_buzzers_and_the_board_no_options() -> None:
    play = begin("ann", "ben", mode="choice")
    for phase in (Phase.READING, Phase.CHOOSING, Phase.REVEAL):
        go_to(play, phase)
        play.check(0, Buzz(), c.NO_BUZZERS)
        play.check(0, Pass(), c.NO_BUZZERS)
        play.check(0, Select(0, 1), c.NOT_SELECTING)
        play.check(0, Answer("x"), c.NOT_ANSWERING)
    play = at_open_buzzers("ann", "ben")
    play.check(0, Choose(0), c.NOT_CHOOSING)


def test_a_command_that_means_an_earlier_clue_comes_too_late() -> None:
    play = at_open_buzzers("ann", "ben")
    first = play.state.shown.number
    play.check(0, Buzz(clue=first), None)
    play.check(0, Answer(the_answer(play), clue=first), None)
    go_to(play, Phase.OPEN)
    assert play.state.shown.number == first + 1
    for stale in (Buzz(clue=first), Pass(clue=first), Answer("x", clue=first)):
        play.check(0, stale, c.CLUE_OVER)
    play.check(0, Pass(clue=first + 1), None)
    play = begin("ann", "ben", mode="choice")
    go_to(play, Phase.CHOOSING)
    play.check(0, Choose(0, clue=play.state.shown.number + 1), c.CLUE_OVER)
    play.check(0, Choose(0, clue=play.state.shown.number), None)


@pytest.mark.parametrize(
    "body",
    [
        [2, 6, 1],
        [2, -1, 1],
        [2, 0, 0],
        [2, 0, 6],
        [2, 0],
        [2, 0, 1, 1],
        [3, -1],
        [3, 1, 1],
        [3, 2**53],
        [4, ""],
        [4, "x" * 101],
        [4, 5],
        [6, 4],
        [6, -1],
        [6, "0"],
        [0],
        [7],
    ],
)
def test_a_body_out_of_bounds_is_no_command(body: list[Any]) -> None:
    play = make_room("ann")
    with pytest.raises(msgspec.ValidationError):
        play.room.decode(msgspec.msgpack.encode(body))


@given(st.text(max_size=100))
def test_any_text_is_judged_or_refused_and_never_fails(text: str) -> None:
    play = at_answer("ann", "ben")
    if not text:
        return
    said = play.command(0, Answer(text))
    assert said in (None, c.TEXT_BLANK, c.TEXT_UNSHOWABLE)
    if said is None:
        assert play.state.answering == NOBODY
        assert play.state.attempts[0].text == text
        assert not {unicodedata.category(letter) for letter in text} & {"Cc", "Cs", "Zl", "Zp"}
    else:
        assert play.state.answering == 0


def test_no_reason_is_left_without_a_name_or_number_of_its_own() -> None:
    assert len({reason.code for reason in c.REASONS}) == len(c.REASONS)
    assert len({reason.name for reason in c.REASONS}) == len(c.REASONS)
    assert all(reason.code >= 100 for reason in c.REASONS)
