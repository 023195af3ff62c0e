"""The board: reading, buzzing, lockout, answering, and who selects next."""

import pytest

from gameserver.games.quiz import commands as c
from gameserver.games.quiz.commands import Answer, Buzz, Pass, Select
from gameserver.games.quiz.settings import Settings, reading_ticks
from gameserver.games.quiz.state import NOBODY, Phase, State
from tests.games.play import Play
from tests.games.quiz.setting import (
    at_answer,
    at_open_buzzers,
    begin,
    go_to,
    phase_of,
    score,
    the_answer,
)


def early_by(play: Play[State], ticks: int) -> None:
    """Go to the point so many ticks before the buzzers open."""
    assert phase_of(play) is Phase.READING
    play.run_to(play.state.phase_tick - ticks)


def test_buzzers_open_when_the_clue_can_have_been_read() -> None:
    play = begin("ann", "ben")
    play.command(play.state.control, Select(0, 1))
    shown_tick = play.now
    go_to(play, Phase.OPEN)
    assert play.now - shown_tick == reading_ticks(play.state.shown.text, Settings())


@pytest.mark.parametrize(
    ("chars", "per_second", "ticks"), [(1, 20, 20), (20, 20, 20), (21, 20, 21), (200, 30, 134)]
)
def test_a_longer_clue_is_read_longer(chars: int, per_second: int, ticks: int) -> None:
    assert reading_ticks("x" * chars, Settings(reading_chars_per_second=per_second)) == ticks


def test_of_two_buzzes_in_a_tick_the_first_in_the_journal_wins() -> None:
    for order in ((0, 1), (1, 0)):
        play = at_open_buzzers("ann", "ben")
        for seat in order:
            play.submit(seat, Buzz())
        play.tick()
        assert play.state.answering == order[0]
        loser = play.room.account(order[1])
        assert [said for (account, _), said in play.outcomes.items() if account == loser][-1] is (
            c.BEATEN
        )
        play.check_all()


def test_the_tick_in_which_the_buzzers_open_takes_a_fair_buzz() -> None:
    play = begin("ann", "ben")
    play.command(play.state.control, Select(0, 1))
    early_by(play, 1)
    assert play.command(0, Buzz()) is None
    assert play.state.answering == 0
    assert play.state.players[0].fastest_ticks == 0
    assert play.state.players[0].early == 0


def test_an_early_buzz_locks_out_for_250_ms() -> None:
    play = begin("ann", "ben")
    play.command(play.state.control, Select(0, 1))
    early_by(play, 3)
    assert play.command(0, Buzz()) is None  # Two ticks before the buzzers open.
    locked = play.now
    play.run_to(locked + 3)
    assert phase_of(play) is Phase.OPEN
    assert play.command(0, Buzz()) is c.LOCKED_OUT  # After 200 ms.
    assert play.now == locked + 4
    assert play.command(0, Buzz()) is None  # After 250 ms.
    assert play.state.answering == 0


def test_each_early_buzz_restarts_the_lockout() -> None:
    play = begin("ann", "ben")
    play.command(play.state.control, Select(0, 1))
    early_by(play, 4)
    assert play.command(0, Buzz()) is None
    assert play.command(0, Buzz()) is None
    locked = play.now
    assert play.state.players[0].early == 2
    play.run_to(locked + 3)
    assert play.command(0, Buzz()) is c.LOCKED_OUT  # The first lockout would be over.
    assert play.command(0, Buzz()) is None


def test_a_buzz_during_the_lockout_does_not_restart_it_and_must_be_repeated() -> None:
    play = begin("ann", "ben")
    play.command(play.state.control, Select(0, 1))
    early_by(play, 2)
    assert play.command(0, Buzz()) is None
    locked = play.now
    play.run_to(locked + 2)
    assert play.command(0, Buzz()) is c.LOCKED_OUT
    play.run_to(locked + 10)
    assert play.state.answering == NOBODY
    assert play.command(0, Buzz()) is None


def test_a_lockout_is_the_early_players_alone() -> None:
    play = begin("ann", "ben")
    play.command(play.state.control, Select(0, 1))
    early_by(play, 2)
    assert play.command(0, Buzz()) is None
    assert play.command(1, Buzz()) is None
    assert play.state.answering == 1


def test_the_right_answer_gives_the_value_and_control() -> None:
    play = at_open_buzzers("ann", "ben", level=4)
    winner = 1 - play.state.control
    assert play.command(winner, Buzz()) is None
    assert play.command(winner, Answer(f"What is {the_answer(play).upper()}?")) is None
    assert phase_of(play) is Phase.REVEAL
    assert play.state.shown.answer == the_answer(play)
    assert play.state.players[winner].score == 400
    assert play.state.players[winner].gained == 400
    go_to(play, Phase.SELECTING)
    assert play.state.control == winner
    assert play.state.shown.text == ""
    assert play.state.shown.answer == ""


def test_a_further_form_of_the_answer_is_right() -> None:
    play = at_answer("ann", "ben")
    accept = play.state.clues[play.state.shown.place].accept[0]
    play.check(0, Answer(accept), None)
    assert score(play, "ann") == 100


def test_a_wrong_answer_costs_the_value_and_reopens_for_the_others() -> None:
    play = at_answer("ann", "ben", level=5)
    play.ticks(30)
    play.check(0, Answer("nonsense"), None)
    assert score(play, "ann") == -500
    assert phase_of(play) is Phase.OPEN
    assert play.state.phase_tick == play.now + 6 * 20
    assert play.state.shown.answer == ""
    attempt = play.state.attempts[0]
    assert (attempt.by_seat, attempt.text, attempt.right) == (0, "nonsense", False)
    play.check(1, Buzz(), None)
    assert play.state.players[1].fastest_ticks == 1  # Since the reopening.
    play.check(1, Answer(the_answer(play)), None)
    assert score(play, "ben") == 500
    play.check_all()


def test_no_answer_in_time_counts_as_a_wrong_one() -> None:
    play = at_answer("ann", "ben", answer_seconds=3)
    ends = play.now + 3 * 20
    play.run_to(ends - 1)
    assert phase_of(play) is Phase.ANSWERING
    assert play.command(0, Answer(the_answer(play))) is c.NOT_ANSWERING  # In the last tick: late.
    assert play.now == ends
    assert score(play, "ann") == -100
    assert phase_of(play) is Phase.OPEN
    assert play.state.attempts[0].text == ""


def test_an_answer_in_the_last_moment_counts() -> None:
    play = at_answer("ann", "ben", answer_seconds=3)
    play.run_to(play.state.phase_tick - 2)
    assert play.command(0, Answer(the_answer(play))) is None
    assert score(play, "ann") == 100


def test_nobody_buzzes_and_the_answer_is_revealed() -> None:
    play = at_open_buzzers("ann", "ben", buzz_seconds=2)
    control = play.state.control
    opened = play.now
    go_to(play, Phase.REVEAL)
    assert play.now == opened + 2 * 20
    assert play.state.shown.answer == the_answer(play)
    go_to(play, Phase.SELECTING)
    assert play.state.control == control


def test_when_all_have_missed_or_passed_the_answer_is_revealed_at_once() -> None:
    play = at_answer("ann", "ben", "cat")
    play.check(0, Answer("x"), None)
    play.check(1, Pass(), None)
    assert phase_of(play) is Phase.OPEN
    play.check(2, Buzz(), None)
    play.check(2, Answer("y"), None)
    assert phase_of(play) is Phase.REVEAL
    assert [attempt.by_seat for attempt in play.state.attempts] == [0, 2]


def test_a_clue_is_selected_by_itself_when_time_runs_out() -> None:
    play = begin("ann", "ben", categories=2, select_seconds=2)
    began = play.now
    go_to(play, Phase.READING)
    assert play.now == began + 2 * 20
    assert play.state.shown.place == 0
    seen = [0]
    while play.state.clues_played < 10:
        go_to(play, Phase.REVEAL)
        go_to(play, Phase.READING)
        seen.append(play.state.shown.place)
    assert seen == [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]  # The cheapest first, from left to right.


def test_every_clue_is_played_once_and_then_the_standings_come() -> None:
    play = begin("ann", "ben", categories=2)
    seen = set()
    for category in range(2):
        for level in range(1, 6):
            play.check(play.state.control, Select(category, level), None)
            seen.add(play.state.shown.text)
            go_to(play, Phase.REVEAL)
            play.run_to_due()
    assert len(seen) == 10
    assert phase_of(play) is Phase.STANDINGS
    assert all(category.open_levels == 0 for category in play.state.categories)


def test_control_goes_at_first_to_anybody() -> None:
    first = set()
    for names in (("ann", "ben"), ("ann", "ben", "cat"), ("ann", "ben", "cat", "dan", "eve")):
        play = begin(*names)
        assert play.state.present_seats >> play.state.control & 1
        first.add(play.state.control)
    assert len(first) > 1


def test_statistics_count_what_was_done() -> None:
    play = at_open_buzzers("ann", "ben", categories=1)
    play.ticks(6)
    play.check(0, Buzz(), None)
    play.check(0, Answer(the_answer(play)), None)
    for level in (2, 3):
        go_to(play, Phase.SELECTING)
        play.check(0, Select(0, level), None)
        go_to(play, Phase.OPEN)
        play.ticks(level)
        play.check(0, Buzz(), None)
        play.check(0, Answer(the_answer(play) if level == 2 else "no"), None)
    ann = play.state.players[0]
    assert (ann.right, ann.wrong, ann.buzzes, ann.early) == (2, 1, 3, 0)
    assert (ann.streak, ann.best_streak) == (0, 2)
    assert ann.fastest_ticks == 3
    assert ann.score == 100 + 200 - 300
