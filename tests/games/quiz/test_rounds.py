"""Rounds: the lobby, the standings, what is recorded, and the next round with other clues."""

from typing import Literal

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.engine.effects import Result, Score
from gameserver.games.quiz import choosing, scoring
from gameserver.games.quiz.commands import Answer, Buzz, Choose, Ready
from gameserver.games.quiz.settings import Settings
from gameserver.games.quiz.state import NOBODY, Phase
from tests.games.play import account_of
from tests.games.quiz.setting import (
    at_answer,
    begin,
    go_to,
    make_bank,
    make_room,
    phase_of,
    the_answer,
)


def test_a_round_waits_until_enough_players_are_there() -> None:
    play = make_room("ann", players_min=2)
    assert play.room.due_tick is None
    play.ticks(10_000)
    assert phase_of(play) is Phase.LOBBY
    play.sit("ben")
    assert play.state.phase_tick == play.now + 20 * 20
    play.lose(1)
    assert play.state.phase_tick == 0
    play.sit("ben")
    go_to(play, Phase.SELECTING)
    assert play.state.round_number == 1


def test_the_countdown_is_not_put_off_by_newcomers() -> None:
    play = make_room("ann", "ben", start_seconds=10)
    starts = play.state.phase_tick
    play.ticks(50)
    play.sit("cat")
    assert play.state.phase_tick == starts
    play.run_to(starts + 1)
    assert phase_of(play) is Phase.SELECTING


def test_a_round_starts_at_once_when_all_who_are_present_are_ready() -> None:
    play = make_room("ann", "ben", "cat")
    for seat in (0, 1):
        play.check(seat, Ready(), None)
    assert phase_of(play) is Phase.LOBBY
    play.lose(2)
    assert phase_of(play) is Phase.DRAWING
    assert play.state.ready_seats == 0


def test_being_ready_alone_starts_nothing() -> None:
    play = make_room("ann", players_min=2)
    play.check(0, Ready(), None)
    assert phase_of(play) is Phase.LOBBY
    play.sit("ben")
    assert phase_of(play) is Phase.LOBBY


def test_a_round_ends_with_standings_a_result_and_scores() -> None:
    play = at_answer("ann", "ben", "cat", categories=1, level=3)
    play.check(0, Answer(the_answer(play)), None)
    go_to(play, Phase.OPEN)
    play.check(1, Buzz(), None)
    play.check(1, Answer("no"), None)
    go_to(play, Phase.STANDINGS)
    rows = [(one.place, one.by_seat, one.score) for one in play.state.placings]
    assert rows == [(1, 0, 300), (2, 2, 0), (3, 1, -100)]
    (result,) = play.effects_of(Result)
    assert result.round_number == 1
    mode, played, standings = msgpack.unpackb(result.payload)
    assert (mode, played) == (0, 5)
    assert standings[0] == [1, account_of("ann"), 300, 1, 0, 1, 0, 1, 1]
    assert standings[2] == [3, account_of("ben"), -100, 0, 1, 1, 0, 1, 0]
    (score,) = play.effects_of(Score)  # Only who has points gets them.
    assert (score.account, score.points) == (account_of("ann"), 300)
    play.check_all()


def test_equal_scores_share_a_place() -> None:
    play = begin("ann", "ben", "cat", mode="choice", questions=1)
    go_to(play, Phase.CHOOSING)
    for seat in (1, 2):
        play.submit(seat, Choose(play.state.shown.right_option))
    go_to(play, Phase.STANDINGS)
    assert [one.place for one in play.state.placings] == [1, 1, 3]
    assert len({one.score for one in play.state.placings}) == 2


def test_nobody_scores_by_playing_alone() -> None:
    play = begin("ann", mode="choice", questions=1, players_min=1)
    go_to(play, Phase.CHOOSING)
    play.check(0, Choose(play.state.shown.right_option), None)
    go_to(play, Phase.STANDINGS)
    assert play.state.placings[0].score > 0
    assert play.results()
    assert not play.scores()


def test_no_typed_text_is_in_a_result() -> None:
    play = at_answer("ann", "ben", categories=1)
    play.check(0, Answer("remarkable"), None)
    go_to(play, Phase.STANDINGS)
    assert b"remarkable" not in play.results()[0].payload
    assert b"remarkable" not in play.snapshot()


def test_the_next_round_begins_after_the_standings_with_new_scores() -> None:
    play = begin("ann", "ben", mode="choice", questions=1, standings_seconds=5)
    go_to(play, Phase.CHOOSING)
    play.check(0, Choose(play.state.shown.right_option), None)
    go_to(play, Phase.STANDINGS)
    ended = play.now
    go_to(play, Phase.READING)
    assert play.now == ended + 5 * 20 + 1
    assert play.state.round_number == 2
    assert len(play.state.placings) == 0
    ann = play.state.players[0]
    assert (ann.score, ann.right, ann.fastest_ticks, ann.best_streak) == (0, 0, -1, 0)


def test_the_next_round_waits_in_the_lobby_when_too_few_are_there() -> None:
    play = begin("ann", "ben", mode="choice", questions=1)
    go_to(play, Phase.STANDINGS)
    play.leave(1)
    go_to(play, Phase.LOBBY)
    assert len(play.state.placings) == 2
    assert play.room.due_tick is None


def test_all_ready_in_the_standings_begins_the_next_round_at_once() -> None:
    play = begin("ann", "ben", mode="choice", questions=1)
    go_to(play, Phase.STANDINGS)
    play.check(0, Ready(), None)
    play.check(1, Ready(), None)
    play.tick()
    assert play.state.round_number == 2


def test_the_room_ends_after_its_last_round() -> None:
    play = begin("ann", "ben", mode="choice", questions=1, rounds_max=2)
    go_to(play, Phase.STANDINGS)
    go_to(play, Phase.READING)
    go_to(play, Phase.STANDINGS)
    play.run_to_due()
    assert not play.room.is_open
    assert [result.round_number for result in play.results()] == [1, 2]


@pytest.mark.parametrize("mode", ["board", "choice"])
def test_no_clue_comes_twice_while_there_are_others(mode: str) -> None:
    play = make_room(
        "ann", players_min=1, mode=mode, questions=10, categories=2, per_level=3, select_seconds=1
    )
    texts = []
    while play.state.round_number < 4:
        go_to(play, Phase.READING)
        texts.append(play.state.shown.text)
        go_to(play, Phase.REVEAL)
        play.run_to_due()
        if phase_of(play) is Phase.STANDINGS:
            go_to(play, Phase.DRAWING)
            play.tick()
    assert len(texts) == 30
    assert len(set(texts)) == 30


def test_clues_that_were_not_shown_may_come_again() -> None:
    play = begin("ann", "ben", categories=2)
    go_to(play, Phase.READING)
    assert len(play.state.asked) == choosing.MARK_BYTES
    assert play.state.asked == play.state.clues[play.state.shown.place].mark


@given(st.integers(0, 2 * choosing.ASKED_MAX + 5))
def test_what_a_room_remembers_is_bounded_and_the_newest(count: int) -> None:
    marks = [number.to_bytes(choosing.MARK_BYTES, "big") for number in range(count)]
    asked = b""
    for mark in marks:
        asked = choosing.remembered(asked, mark)
    assert asked == b"".join(marks[-choosing.ASKED_MAX :])


def test_nobody_brings_a_score_into_the_next_round() -> None:
    play = at_answer("ann", "ben", "cat", categories=1)
    play.check(0, Answer("no"), None)
    play.leave(0)
    go_to(play, Phase.STANDINGS)
    go_to(play, Phase.SELECTING)
    seat = play.sit("ann")
    assert play.state.players[seat].score == 0
    assert play.state.players[seat].buzzes == 0


@given(st.sampled_from(["board", "choice"]), st.binary(min_size=32, max_size=32))
def test_the_same_seed_chooses_the_same_clues(
    mode: Literal["board", "choice"], seed: bytes
) -> None:
    bank = make_bank(3, 2)
    settings = Settings(mode=mode, categories=3, questions=12)
    ask = choosing.ask_without(b"")
    first = choosing.chosen(bank, ask, settings, seed)
    assert first == choosing.chosen(bank, ask, settings, seed)
    clues = choosing.read(first)
    assert len({clue.mark for clue in clues}) == len(clues) == (15 if mode == "board" else 12)
    asked = b"".join(clue.mark for clue in clues)
    others = choosing.read(choosing.chosen(bank, choosing.ask_without(asked), settings, seed))
    fresh = [clue for clue in others if clue.mark not in {clue.mark for clue in clues}]
    assert len(fresh) >= 15 if mode == "board" else len(fresh) == 12


def test_a_board_that_is_wider_than_the_bank_has_all_categories() -> None:
    play = begin("ann", "ben", categories=2)
    assert [category.name for category in play.state.categories] in (
        ["Alpha", "Beta"],
        ["Beta", "Alpha"],
    )
    play = begin("ann", "ben")
    assert len(play.state.categories) == 2


def test_who_left_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "GONE_MAX", 2)
    play = at_answer("ann", "ben", "cat", "dan", "eve", categories=1)
    for name in ("ann", "ben", "cat"):
        seat = play.seat(name)
        if play.state.answering == NOBODY:
            play.check(seat, Buzz(), None)
        play.check(seat, Answer("no"), None)
    for name in ("ann", "ben", "cat"):
        play.leave(play.seat(name))
    accounts = [gone.account for gone in play.state.gone]
    assert accounts == [account_of("ben"), account_of("cat")]
    play.check_all()
