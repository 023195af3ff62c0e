"""Multiple choice: options, time, the bonus for speed."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gameserver.engine.fields import Visibility
from gameserver.games.quiz import commands as c
from gameserver.games.quiz.commands import Choose
from gameserver.games.quiz.scoring import speed_bonus
from gameserver.games.quiz.state import NONE, Phase, State
from tests.games.play import Play
from tests.games.quiz.setting import begin, go_to, make_room, mark, phase_of, score


def at_options(*names: str, **settings: Any) -> Play[State]:
    """Open a room in which the first options have just appeared."""
    play = begin(*names, mode="choice", **settings)
    go_to(play, Phase.CHOOSING)
    return play


def right_and_wrong(play: Play[State]) -> tuple[int, int]:
    """Return the right option and a wrong one."""
    right = play.state.shown.right_option
    return right, (right + 1) % 4


def test_the_options_are_the_answer_and_the_three_wrong_ones() -> None:
    play = at_options("ann", "ben")
    clue = play.state.clues[play.state.shown.place]
    options = play.state.shown.options
    assert sorted(options) == sorted((clue.answer, *clue.wrong))
    assert options[play.state.shown.right_option] == clue.answer
    assert play.state.shown.answer == ""
    assert play.state.shown.answer_option == NONE


def test_the_options_are_shown_when_the_clue_has_been_read() -> None:
    play = begin("ann", "ben", mode="choice")
    assert play.state.shown.options == ()
    assert play.state.shown.text
    watcher = play.watch()
    wrong = play.state.clues[play.state.shown.place].wrong[0].encode()
    assert not watcher.has_seen(wrong)
    go_to(play, Phase.CHOOSING)
    assert watcher.has_seen(wrong)


def test_the_right_option_stands_anywhere() -> None:
    play = make_room("ann", "ben", mode="choice", questions=10, categories=2, players_min=1)
    places = set()
    for _ in range(40):
        go_to(play, Phase.CHOOSING)
        places.add(play.state.shown.right_option)
        play.run_to_due()
    assert places == {0, 1, 2, 3}


def test_points_are_the_value_and_half_of_it_for_speed() -> None:
    play = at_options("ann", "ben", "cat", answer_seconds=10)
    assert play.state.shown.value == 100
    right, wrong = right_and_wrong(play)
    opened = play.now
    assert play.command(0, Choose(right)) is None  # One tick after the options appeared.
    play.run_to(opened + 99)
    assert play.command(1, Choose(right)) is None  # After half of the time.
    assert play.command(2, Choose(wrong)) is None
    assert phase_of(play) is Phase.REVEAL
    assert score(play, "ann") == 100 + 100 * 199 // 400
    assert score(play, "ben") == 100 + 25
    assert score(play, "cat") == 0
    assert [player.gained for player in play.state.players] == [149, 125, 0]
    assert [player.revealed_choice for player in play.state.players] == [right, right, wrong]
    assert [player.fastest_ticks for player in play.state.players] == [1, 100, NONE]
    assert play.state.shown.answer_option == right


@given(st.integers(1, 5), st.integers(1, 1200), st.data())
def test_the_bonus_is_never_more_than_half_and_falls_with_time(
    level: int, total: int, data: st.DataObject
) -> None:
    value = level * 100
    left = data.draw(st.integers(0, total))
    assert 0 <= speed_bonus(value, left, total) <= value // 2
    assert speed_bonus(value, total, total) == value // 2
    assert speed_bonus(value, 0, total) == 0
    assert speed_bonus(value, max(left - 1, 0), total) <= speed_bonus(value, left, total)


def test_a_choice_is_shown_to_nobody_else_before_the_reveal() -> None:
    play = at_options("ann", "ben")
    right, _ = right_and_wrong(play)
    play.check(0, Choose(right), None)
    record = play.state.players[0].record_number
    field = next(one.number for one in play.state.players[0].fields if one.name == "choice")
    assert play.watcher(0).view.value(record, field) == right
    assert play.watcher(1).view.value(record, field) is None
    assert play.watch().view.value(record, field) is None
    assert play.state.players[0].revealed_choice == NONE
    assert play.state.chosen_seats == 1
    play.check(1, Choose(right), None)
    assert play.state.players[0].revealed_choice == right
    play.check_all()


def test_nobody_is_told_which_option_is_right_or_which_clues_are_to_come() -> None:
    play = at_options("ann", "ben")
    secrets = {
        (record.record_number, field.number)
        for record in (play.state, play.state.shown, *play.state.clues)
        for field in record.fields
        if field.visibility is Visibility.SECRET
    }
    assert len(secrets) > 4
    clues = next(child.number for child in play.state.children if child.name == "clues")
    for viewer in (play.watch(), play.watcher(0), play.watcher(1)):
        assert not [place for place in secrets if viewer.view.value(*place) is not None]
        assert not viewer.view.children(play.state.record_number, clues)
    names = {"asked", "right_option", "answer", "mark"}
    declared = {
        field.name
        for record in (play.state, play.state.shown, play.state.clues[0])
        for field in record.fields
        if (record.record_number, field.number) in secrets
    }
    assert names <= declared


def test_who_does_not_choose_gets_nothing_and_loses_the_streak() -> None:
    play = at_options("ann", "ben", answer_seconds=2)
    right, _ = right_and_wrong(play)
    play.check(0, Choose(right), None)
    assert phase_of(play) is Phase.CHOOSING
    go_to(play, Phase.REVEAL)
    assert play.state.players[0].streak == 1
    go_to(play, Phase.CHOOSING)
    right, wrong = right_and_wrong(play)
    play.check(1, Choose(wrong), None)
    go_to(play, Phase.REVEAL)
    ann, ben = play.state.players[0], play.state.players[1]
    assert (ann.right, ann.wrong, ann.streak, ann.best_streak) == (1, 0, 0, 1)
    assert (ben.right, ben.wrong, ben.score) == (0, 1, 0)
    assert ann.revealed_choice == NONE


def test_a_choice_in_the_tick_of_the_reveal_is_late() -> None:
    play = at_options("ann", "ben", answer_seconds=2)
    play.run_to(play.state.phase_tick - 1)
    assert play.command(0, Choose(0)) is c.NOT_CHOOSING


def test_questions_go_from_easy_to_hard_and_are_as_many_as_were_set() -> None:
    play = begin("ann", "ben", mode="choice", questions=5, categories=3)
    values = []
    for _ in range(5):
        go_to(play, Phase.CHOOSING)
        values.append(play.state.shown.value)
        play.run_to_due()
    assert values == [100, 200, 300, 400, 500]
    go_to(play, Phase.STANDINGS)
    assert play.state.clues_played == play.state.clues_total == 5


def test_a_small_bank_makes_a_short_round() -> None:
    play = begin("ann", "ben", mode="choice", questions=50, categories=1)
    assert play.state.clues_total == 5
    go_to(play, Phase.STANDINGS)
    assert play.watch().has_seen(mark("answer", "Alpha", 5).encode())
