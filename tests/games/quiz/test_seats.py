"""Players who come late, lose their connection, leave or return; rooms without players."""

from gameserver.games.quiz import commands as c
from gameserver.games.quiz.commands import Answer, Buzz, Choose, Pass, Ready, Select
from gameserver.games.quiz.state import NOBODY, Phase
from tests.games.play import account_of
from tests.games.quiz.setting import (
    at_answer,
    at_open_buzzers,
    begin,
    go_to,
    is_open,
    make_room,
    phase_of,
    score,
    the_answer,
)


def test_the_time_of_a_player_who_lost_the_connection_runs_on() -> None:
    play = at_answer("ann", "ben")
    ends = play.state.phase_tick
    play.lose(0)
    assert play.state.phase_tick == ends
    play.run_to(ends)
    assert score(play, "ann") == -100
    assert phase_of(play) is Phase.OPEN


def test_a_player_who_comes_back_in_time_can_still_answer() -> None:
    play = at_answer("ann", "ben")
    play.lose(0)
    play.sit("ann")
    play.check(0, Answer(the_answer(play)), None)
    assert score(play, "ann") == 100


def test_leaving_with_the_word_is_a_miss_that_stays() -> None:
    play = at_answer("ann", "ben", "cat", level=5)
    play.leave(0)
    assert phase_of(play) is Phase.OPEN
    assert play.state.attempts[0].by_seat == 0
    seat = play.sit("ann")
    assert play.state.players[seat].score == -500
    assert play.state.players[seat].buzzes == 1
    play.check(seat, Buzz(), c.OUT_OF_CLUE)
    play.check_all()


def test_leaving_and_returning_keeps_what_one_had() -> None:
    play = at_answer("ann", "ben", level=2)
    play.check(0, Answer(the_answer(play)), None)
    play.leave(0)
    assert play.sit("cat") == 0
    assert score(play, "cat") == 0
    play.sit("ann")
    assert score(play, "ann") == 200
    assert len(play.state.gone) == 0


def test_a_seat_that_was_left_keeps_nothing_for_the_next() -> None:
    play = make_room("ann", "ben", "cat")
    play.check(1, Ready(), None)
    play.leave(1)
    assert play.state.ready_seats == 0
    assert play.sit("dan") == 1
    play.check(1, Ready(), None)
    play = at_open_buzzers("ann", "ben")
    play.check(0, Pass(), None)
    play.leave(0)
    assert play.state.out_seats == 0
    play = begin("ann", "ben", mode="choice")
    go_to(play, Phase.CHOOSING)
    play.check(0, Choose(0), None)
    play.leave(0)
    assert play.state.chosen_seats == 0


def test_who_left_stands_in_the_standings_without_a_seat() -> None:
    play = at_answer("ann", "ben", categories=1, level=2)
    play.check(0, Answer(the_answer(play)), None)
    play.leave(0)
    go_to(play, Phase.STANDINGS)
    first = play.state.placings[0]
    assert (first.by_seat, first.account, first.score) == (NOBODY, account_of("ann"), 200)
    assert not play.scores()


def test_who_comes_during_a_clue_waits_for_the_next_one() -> None:
    play = at_open_buzzers("ann", "ben", categories=1)
    cat = play.sit("cat")
    play.check(cat, Buzz(), c.OUT_OF_CLUE)
    for seat in (0, 1):
        play.check(seat, Pass(), None)
    assert phase_of(play) is Phase.REVEAL  # Nobody waits for the newcomer.
    go_to(play, Phase.OPEN)
    play.check(cat, Buzz(), None)


def test_control_passes_on_when_the_selector_is_cut_off() -> None:
    play = begin("ann", "ben", "cat")
    selector = play.state.control
    ends = play.state.phase_tick
    play.lose(selector)
    assert play.state.control == (selector + 1) % 3
    assert play.state.phase_tick == ends
    play.check(play.state.control, Select(0, 1), None)


def test_control_passes_on_when_the_selector_leaves() -> None:
    play = begin("ann", "ben", "cat")
    selector = play.state.control
    play.leave(selector)
    assert play.state.control == (selector + 1) % 3


def test_an_absent_winner_does_not_get_control() -> None:
    play = at_answer("ann", "ben")
    play.check(0, Answer(the_answer(play)), None)
    play.lose(0)
    go_to(play, Phase.SELECTING)
    assert play.state.control == 1


def test_nobody_waits_for_the_choice_of_somebody_who_is_gone() -> None:
    play = begin("ann", "ben", "cat", mode="choice")
    go_to(play, Phase.CHOOSING)
    play.check(0, Choose(0), None)
    play.lose(1)
    assert phase_of(play) is Phase.CHOOSING
    play.leave(2)
    assert phase_of(play) is Phase.REVEAL


def test_a_clue_is_not_given_up_because_everybody_is_cut_off() -> None:
    play = begin("ann", "ben", mode="choice")
    go_to(play, Phase.CHOOSING)
    play.lose(0)
    play.lose(1)
    assert phase_of(play) is Phase.CHOOSING
    play.sit("ann")
    play.check(0, Choose(play.state.shown.right_option), None)
    assert phase_of(play) is Phase.REVEAL  # Of those who are present nobody is left.
    assert score(play, "ann") > 0


def test_time_stands_still_while_nobody_is_there() -> None:
    play = at_answer("ann", "ben", empty_seconds=60)
    play.ticks(20)
    left = play.state.phase_tick - play.now
    play.lose(0)
    play.lose(1)
    assert play.state.phase_tick == 0
    assert play.state.paused_ticks == left - 2
    play.ticks(500)
    assert phase_of(play) is Phase.ANSWERING
    play.sit("ben")
    assert play.state.phase_tick == play.now + left - 2
    assert play.state.empty_tick == 0
    play.check_all()


def test_after_a_pause_there_is_time_for_the_others_to_return() -> None:
    play = at_answer("ann", "ben")
    play.run_to(play.state.phase_tick - 5)
    play.lose(0)
    play.lose(1)
    play.sit("ben")
    assert play.state.phase_tick == play.now + 60


def test_a_recovered_room_goes_on_where_it_stood() -> None:
    play = at_answer("ann", "ben")
    play.recover(play.snapshot())
    assert phase_of(play) is Phase.ANSWERING
    assert play.state.phase_tick == 0
    play.sit("ben")
    play.sit("ann")
    play.check(0, Answer(the_answer(play)), None)
    assert score(play, "ann") == 100
    play.check_all()


def test_a_room_that_is_killed_while_clues_are_drawn_gets_them_again() -> None:
    play = make_room("ann", "ben")
    play.asks_held = True
    play.run_to_due()
    assert phase_of(play) is Phase.DRAWING
    play.recover()
    play.sit("ann")
    play.asks_held = False
    play.tick()
    assert phase_of(play) is Phase.SELECTING


def test_clues_that_come_when_everybody_is_gone_are_put_aside() -> None:
    play = make_room("ann", "ben")
    play.asks_held = True
    play.run_to_due()
    play.lose(0)
    play.lose(1)
    play.asks_held = False
    play.tick()
    assert phase_of(play) is Phase.LOBBY
    assert play.state.round_number == 0
    assert len(play.state.clues) == 0
    play.sit("ann")
    play.sit("ben")
    go_to(play, Phase.SELECTING)


def test_a_room_without_players_ends() -> None:
    play = begin("ann", "ben", empty_seconds=10)
    play.lose(0)
    play.leave(1)
    gone = play.now
    play.run_to(gone + 10 * 20 - 1)
    assert is_open(play)
    play.tick()
    assert not is_open(play)
    assert not play.results()


def test_a_room_that_nobody_ever_found_ends() -> None:
    play = make_room(empty_seconds=30)
    play.run_to(play.now + 30 * 20)
    assert not is_open(play)


def test_thirty_players_have_a_seat() -> None:
    names = [f"player{number}" for number in range(30)]
    play = begin(*names, mode="choice", questions=1)
    go_to(play, Phase.CHOOSING)
    for seat in range(30):
        assert play.command(seat, Choose(seat % 4)) is None
    assert phase_of(play) is Phase.REVEAL
    play.check_all()


def test_who_stays_away_from_the_lobby_loses_the_seat_to_others() -> None:
    play = make_room("ann", "ben", "cat", players_min=3, absent_seconds=60, start_seconds=600)
    play.lose(1)
    play.ticks(600)
    play.lose(2)
    play.ticks(598)
    assert play.sit("cat") == 2
    play.ticks(1)
    assert play.room.seats.keys_in_order() == [0, 2]
    assert play.state.absent_tick == 0
    assert play.sit("dan") == 1
    play.check_all()


def test_who_is_away_during_a_round_keeps_the_seat_until_its_standings() -> None:
    play = at_answer("ann", "ben", categories=1, absent_seconds=5)
    play.lose(1)
    go_to(play, Phase.STANDINGS)
    assert 1 in play.room.seats
    assert sorted(placing.by_seat for placing in play.state.placings) == [0, 1]
    play.tick()
    assert play.room.seats.keys_in_order() == [0]
    assert phase_of(play) is Phase.STANDINGS
    play.check_all()


def test_a_room_that_everybody_has_left_for_long_is_empty_and_ends() -> None:
    play = make_room("ann", "ben", absent_seconds=60, empty_seconds=100)
    play.lose(0)
    play.lose(1)
    play.ticks(1200)
    assert len(play.room.seats) == 0
    assert is_open(play)
    play.ticks(800)
    assert not is_open(play)
    play.check_all()
