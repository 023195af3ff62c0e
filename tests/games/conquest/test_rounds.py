"""How rounds of Conquest begin, pay, and end, and what presence and absence mean."""

from __future__ import annotations

import msgpack
import msgspec
import pytest

from gameserver.engine.effects import Score
from gameserver.engine.room import decode_settings
from gameserver.games.conquest.commands import Ready, Reinforce, Surrender
from gameserver.games.conquest.state import NOBODY, Ending, Exit, Phase, Status
from tests.games.conquest.rooms import (
    GAME,
    alive,
    borders,
    do,
    holds,
    is_open,
    lobby_of,
    owned,
    phase,
    round_of,
    storm,
    troops,
)
from tests.games.play import account_of

ANN, BOB, CAT, DAN = range(4)


def test_the_countdown_begins_when_enough_are_there() -> None:
    play = lobby_of("ann", "bob", players_min=3, start_seconds=10)
    assert play.state.start_tick == 0
    play.sit("cat")
    assert play.state.start_tick == play.now + 200
    play.run_to(play.state.start_tick - 1)
    assert phase(play) is Phase.LOBBY
    play.tick()
    assert phase(play) is Phase.PLAYING
    play.check_all()


def test_the_countdown_stops_when_too_few_are_left() -> None:
    play = lobby_of("ann", "bob", "cat")
    began = play.state.start_tick
    play.lose(CAT)
    assert play.state.start_tick == began
    play.lose(BOB)
    assert play.state.start_tick == 0
    play.sit("bob")
    play.leave(ANN)
    assert play.state.start_tick == 0
    play.sit("cat")
    assert play.state.start_tick == play.now + 300
    play.check_all()


def test_the_round_begins_at_once_when_all_who_are_there_are_ready() -> None:
    play = lobby_of("ann", "bob", "cat")
    do(play, ANN, Ready(ready=True))
    do(play, BOB, Ready(ready=True))
    assert phase(play) is Phase.LOBBY
    play.lose(CAT)
    play.tick()
    assert phase(play) is Phase.PLAYING
    assert [player.status for player in play.state.players] == [1, 1, 0]


def test_readiness_is_taken_back_by_whoever_disconnects() -> None:
    play = lobby_of("ann", "bob", players_min=2)
    do(play, ANN, Ready(ready=True))
    play.lose(ANN)
    play.sit("ann")
    assert not play.state.players[ANN].ready


@pytest.mark.parametrize("count", range(2, 9))
@pytest.mark.parametrize(("world", "size"), [("tarn", 15), ("halcyra", 42)])
def test_all_are_dealt_the_same_number(world: str, size: int, count: int) -> None:
    names = [f"player{seat}" for seat in range(count)]
    play = round_of(*names, world=world, start_troops=4, neutral_troops=2, start_reserve=7)
    share = size // max(count, 3)
    for seat in range(count):
        assert len(owned(play, seat)) == share == play.state.players[seat].territories
        assert [troops(play, index) for index in owned(play, seat)] == [4] * share
        assert play.state.players[seat].reserve == 7
    neutral = owned(play, NOBODY)
    assert len(neutral) == size - share * count
    assert [troops(play, index) for index in neutral] == [2] * len(neutral)
    assert play.state.victory_territories == {15: 11, 42: 30}[size]


def test_each_round_is_dealt_anew_from_the_dice() -> None:
    play = round_of("ann", "bob", "cat")
    before = owned(play, ANN)
    assert owned(round_of("ann", "bob", "cat"), ANN) == before
    do(play, BOB, Surrender())
    do(play, CAT, Surrender())
    play.run_to(play.state.lobby_tick)
    for seat in (ANN, BOB, CAT):
        do(play, seat, Ready(ready=True))
    play.tick()
    assert play.state.round_number == 2
    assert owned(play, ANN) != before
    play.check_all()


def test_income_is_a_base_and_a_third_of_the_territories() -> None:
    play = round_of("ann", "bob", income_seconds=5, income_base=4, start_reserve=0)
    began = play.state.began_tick
    play.run_to(began + 99)
    assert play.state.players[ANN].reserve == 0
    play.tick()
    regions = [region for region in range(4) if holds(play, ANN, region)]
    assert regions == []
    assert play.state.players[ANN].reserve == 4 + 5 // 3
    play.run_to(began + 200)
    assert play.state.players[BOB].reserve == 2 * (4 + 5 // 3)
    play.check_all()


def test_a_whole_region_brings_its_bonus() -> None:
    play = round_of("ann", "bob", income_seconds=60, income_base=0, victory_percent=100)
    members = {
        index for index in range(15) if play.state.atlas.territory_regions[index] == 0
    }  # Uppertarn, worth 2.
    while not members <= set(owned(play, ANN)):
        ways = [way for to in (NOBODY, BOB) for way in borders(play, ANN, to)]
        inside = [way for way in ways if way[1] in members]
        storm(play, ANN, *(inside or ways)[0])
    others = [region for region in range(1, 4) if holds(play, ANN, region)]
    bonus = 2 + sum(play.state.atlas.region_bonuses[region] for region in others)
    before = play.state.players[ANN].reserve
    play.run_to(play.state.income_tick)
    gained = play.state.players[ANN].reserve - before
    assert gained == play.state.players[ANN].territories // 3 + bonus
    play.check_all()


def test_share_wins() -> None:
    play = round_of("ann", "bob", victory_percent=40, income_base=50, income_seconds=1)
    while phase(play) is Phase.PLAYING:
        storm(play, ANN, *borders(play, ANN, NOBODY)[0])
    state = play.state
    assert (state.ending, state.winner) == (Ending.SHARE, ANN)
    assert state.players[ANN].territories == 6 == state.victory_territories
    assert [one.by_seat for one in state.placings] == [ANN, BOB]
    assert [one.how for one in state.placings] == [Exit.STOOD, Exit.STOOD]
    assert [one.territories for one in state.placings] == [6, 5]
    assert play.scores() == [score("ann", 2)]
    play.check_all()


def test_the_last_one_standing_wins_and_points_follow_the_places() -> None:
    names = ("ann", "bob", "cat", "dan")
    play = round_of(*names, victory_percent=100, income_seconds=1)
    do(play, CAT, Surrender())
    assert play.scores() == []  # Nobody is behind who goes first.
    while owned(play, DAN):
        ways = borders(play, ANN, DAN) or borders(play, ANN, NOBODY)
        storm(play, ANN, *ways[0])
    assert play.state.players[DAN].status is Status.OUT
    assert play.scores() == [score("dan", 1)]
    do(play, BOB, Surrender())
    state = play.state
    assert (state.phase, state.ending, state.winner) == (Phase.ENDED, Ending.LAST_STANDING, ANN)
    placed = [(one.key, one.by_seat, one.how, one.points) for one in state.placings]
    assert placed == [
        (1, ANN, Exit.STOOD, 6),
        (2, BOB, Exit.SURRENDERED, 2),
        (3, DAN, Exit.ELIMINATED, 1),
        (4, CAT, Exit.SURRENDERED, 0),
    ]
    assert play.scores()[1:] == [score("bob", 2), score("ann", 6)]
    play.check_all()


def test_time_decides_by_territories_then_troops_then_seat() -> None:
    play = round_of("ann", "bob", "cat", time_limit_seconds=10, income_seconds=60)
    while play.state.players[CAT].territories < 6:
        storm(play, CAT, *borders(play, CAT, ANN)[0])
    play.run_to(play.state.limit_tick)
    state = play.state
    assert (state.phase, state.ending, state.winner) == (Phase.ENDED, Ending.TIME, CAT)
    assert [one.by_seat for one in state.placings] == [CAT, BOB, ANN]
    assert [one.troops for one in state.placings] == [
        sum(troops(play, index) for index in owned(play, seat)) for seat in (CAT, BOB, ANN)
    ]

    for troops_of_bob, expected in ((1, [BOB, ANN]), (0, [ANN, BOB])):
        play = round_of("ann", "bob", time_limit_seconds=10, income_seconds=60)
        if troops_of_bob:
            do(play, BOB, Reinforce(territory=owned(play, BOB)[0], troops=troops_of_bob))
        play.run_to(play.state.limit_tick)
        assert [one.by_seat for one in play.state.placings] == expected


def test_the_result_says_what_was_played_and_how_it_went() -> None:
    play = round_of("ann", "bob", "cat", world="halcyra", fog=True)
    play.leave(BOB)
    began = play.state.began_tick
    do(play, CAT, Surrender())
    (result,) = play.results()
    assert result.round_number == 1
    held = sum(troops(play, index) for index in owned(play, ANN))
    assert msgpack.unpackb(result.payload) == [
        *(1, "halcyra", 1, True, Ending.LAST_STANDING, play.now - began),
        [
            [1, ANN, account_of("ann"), 4, 14, held, Exit.STOOD],
            [2, CAT, account_of("cat"), 1, 0, 0, Exit.SURRENDERED],
            [3, BOB, account_of("bob"), 0, 0, 0, Exit.LEFT],
        ],
    ]


def test_after_a_round_the_lobby_opens_again_with_an_empty_board() -> None:
    play = round_of("ann", "bob", rematch_seconds=30)
    storm(play, ANN, *borders(play, ANN, BOB)[0])
    do(play, BOB, Surrender())
    ended = play.now
    assert owned(play, ANN)
    play.run_to(ended + 599)
    assert phase(play) is Phase.ENDED
    play.tick()
    state = play.state
    assert state.phase is Phase.LOBBY
    assert state.start_tick == play.now + 300
    assert owned(play, NOBODY) == list(range(15))
    assert all(troops(play, index) == 0 for index in range(15))
    assert [(p.status, p.ready, p.reserve, p.territories) for p in state.players] == [
        (Status.WAITING, False, 0, 0)
    ] * 2
    assert all(battle.tick == 0 for battle in state.battles)
    assert state.placings[1].by_seat == ANN  # Until the next round begins.
    play.run_to(state.start_tick)
    assert (state.phase, state.round_number, len(state.placings)) == (Phase.PLAYING, 2, 0)
    play.check_all()


def test_the_room_ends_after_its_rounds() -> None:
    play = round_of("ann", "bob", rounds_max=2, start_seconds=0)
    do(play, BOB, Surrender())
    play.run_to(play.state.lobby_tick)
    play.run_to(play.state.start_tick)
    do(play, BOB, Surrender())
    assert is_open(play)
    play.run_to(play.state.lobby_tick)
    assert not is_open(play)
    assert play.room.due_tick is None
    assert [result.round_number for result in play.results()] == [1, 2]
    play.check_all()


def test_a_player_who_disconnects_can_come_back() -> None:
    play = round_of("ann", "bob", absent_seconds=60)
    before = owned(play, BOB)
    play.lose(BOB)
    assert play.state.players[BOB].absent_tick == play.now + 1200
    play.ticks(1198)
    play.sit("bob")
    assert play.state.players[BOB].absent_tick == 0
    play.ticks(2000)
    assert phase(play) is Phase.PLAYING
    assert owned(play, BOB) == before
    play.check_all()


def test_a_player_who_does_not_come_back_is_out() -> None:
    play = round_of("ann", "bob", "cat", absent_seconds=60)
    play.lose(BOB)
    play.ticks(1199)
    assert alive(play) == [ANN, BOB, CAT]
    play.tick()
    assert alive(play) == [ANN, CAT]
    assert play.state.placings[3].how is Exit.ABSENT
    assert owned(play, BOB) == []
    play.sit("bob")
    assert play.state.players[BOB].status is Status.OUT
    play.check_all()


def test_of_several_who_are_absent_the_longest_away_goes_first() -> None:
    play = round_of("ann", "bob", "cat", absent_seconds=10)
    for seat in (CAT, ANN, BOB):
        play.lose(seat)
    play.tick_at(play.now + 400)  # All three times ran out in ticks that were skipped.
    assert [one.by_seat for one in play.state.placings] == [BOB, ANN, CAT]
    assert play.state.ending is Ending.LAST_STANDING
    play.check_all()


def test_who_stays_away_from_the_lobby_loses_the_seat_to_others() -> None:
    play = lobby_of("ann", "bob", "cat", absent_seconds=60, start_seconds=600)
    play.lose(BOB)
    play.lose(CAT)
    play.ticks(1198)
    assert play.sit("cat") == CAT
    assert play.room.seat_of(account_of("bob")) is None
    assert play.sit("dan") == BOB
    play.ticks(1200)
    assert [seat.account for seat in play.room.seats] == [
        account_of(name) for name in ("ann", "dan", "cat")
    ]
    play.check_all()


def test_who_stays_away_from_a_round_loses_the_seat_when_the_lobby_opens_again() -> None:
    play = round_of("ann", "bob", "cat", absent_seconds=60, rematch_seconds=5)
    play.lose(BOB)
    play.ticks(1200)
    assert play.state.placings[3].how is Exit.ABSENT
    do(play, CAT, Surrender())
    play.lose(CAT)
    assert phase(play) is Phase.ENDED
    play.run_to(play.state.lobby_tick)
    assert BOB in play.room.seats
    play.tick()
    assert phase(play) is Phase.LOBBY
    assert play.room.seats.keys_in_order() == [ANN, CAT]
    play.check_all()


def test_a_lobby_that_everybody_has_left_is_empty_and_ends() -> None:
    play = lobby_of("ann", "bob", absent_seconds=60, empty_seconds=100)
    play.lose(ANN)
    play.lose(BOB)
    play.ticks(1201)
    assert len(play.room.seats) == 0
    play.ticks(799)
    assert not is_open(play)
    play.check_all()


def test_leaving_during_a_round_is_surrender() -> None:
    play = round_of("ann", "bob", "cat")
    play.leave(BOB)
    assert owned(play, BOB) == []
    placing = play.state.placings[3]
    assert (placing.by_seat, placing.account, placing.how) == (BOB, account_of("bob"), Exit.LEFT)
    assert play.sit("dan") == BOB  # The seat is free for somebody else, who waits.
    assert play.state.players[BOB].status is Status.WAITING
    play.leave(BOB)
    assert len(play.state.placings) == 1
    play.leave(ANN)
    assert play.state.winner == CAT
    play.leave(CAT)
    assert owned(play, NOBODY) == list(range(15))
    play.check_all()


def test_a_room_that_nobody_enters_ends() -> None:
    play = lobby_of(empty_seconds=60)
    play.ticks(1198)
    assert is_open(play)
    play.ticks(2)
    assert not is_open(play)
    play.check_all()


def test_a_room_in_which_nobody_is_left_ends() -> None:
    play = lobby_of("ann", "bob", empty_seconds=60)
    play.lose(ANN)
    play.leave(BOB)
    play.ticks(1199)
    assert is_open(play)
    play.tick()
    assert not is_open(play)


def test_a_room_does_not_end_if_somebody_comes_back_in_time() -> None:
    play = lobby_of("ann", empty_seconds=60)
    play.lose(ANN)
    play.ticks(1198)
    play.sit("ann")
    play.ticks(20_000)
    assert is_open(play)
    assert play.room.due_tick is None  # A lobby costs nothing.


def test_a_round_that_everybody_abandons_is_decided_as_it_stands() -> None:
    play = round_of("ann", "bob", "cat", empty_seconds=10, absent_seconds=60)
    storm(play, BOB, *borders(play, BOB, ANN)[0])
    for seat in (ANN, BOB, CAT):
        play.lose(seat)
    play.ticks(200)
    assert not is_open(play)
    assert (play.state.ending, play.state.winner) == (Ending.ABANDONED, BOB)
    assert [one.by_seat for one in play.state.placings] == [BOB, CAT, ANN]
    assert len(play.results()) == 1
    play.check_all()


def test_an_outage_makes_all_absent_and_takes_nobody_out_too_early() -> None:
    play = round_of("ann", "bob")
    play.recover(play.snapshot())
    assert [player.absent_tick for player in play.state.players] == [play.now + 2400] * 2
    play.sit("ann")
    play.sit("bob")
    assert phase(play) is Phase.PLAYING
    assert play.state.absent_tick == 0
    play.check_all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"world": "earth"},
        {"players_min": 1},
        {"players_min": 9},
        {"victory_percent": 39},
        {"victory_percent": 101},
        {"time_limit_seconds": 0},
        {"income_seconds": 0},
        {"start_troops": 0},
        {"start_troops": 51},
        {"attack_rest_ms": -1},
        {"allies_max": 7},
        {"empty_seconds": 0},
        {"fog": 1},
        {"speed": 3},
    ],
    ids=str,
)
def test_a_setting_out_of_its_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_settings(GAME, msgspec.msgpack.encode(wrong))


def score(name: str, points: int) -> Score:
    """Return the score of round 1 that a player of the test room gets."""
    account = account_of(name)
    return Score(f"4242424242#1@{account}", account, points)
