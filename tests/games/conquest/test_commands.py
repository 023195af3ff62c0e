"""Every command of Conquest, and every reason to refuse it, in the order of the README."""

from __future__ import annotations

import msgspec
import pytest

from gameserver.games.conquest import reasons as why
from gameserver.games.conquest.commands import (
    AcceptAlliance,
    Attack,
    Move,
    OfferAlliance,
    Ready,
    Reinforce,
    Surrender,
)
from gameserver.games.conquest.state import NOBODY, Phase, Status
from tests.games.conquest.rooms import (
    GAME,
    borders,
    do,
    far_from,
    lobby_of,
    owned,
    owner,
    refuse,
    round_of,
    storm,
    troops,
)

ANN, BOB, CAT, DAN = range(4)


def test_ready() -> None:
    play = lobby_of("ann", "bob")
    refuse(play, ANN, Ready(ready=False), why.READY_UNCHANGED)
    do(play, ANN, Ready(ready=True))
    refuse(play, ANN, Ready(ready=True), why.READY_UNCHANGED)
    do(play, ANN, Ready(ready=False))
    assert not play.state.players[ANN].ready
    do(play, ANN, Ready(ready=True))
    do(play, BOB, Ready(ready=True))
    play.tick()
    refuse(play, ANN, Ready(ready=False), why.NOT_IN_LOBBY)
    play.check_all()


def test_reinforce() -> None:
    play = round_of("ann", "bob", start_reserve=100)
    mine, theirs = owned(play, ANN)[0], owned(play, BOB)[0]
    refuse(play, ANN, Reinforce(territory=15, troops=1), why.NO_SUCH_TERRITORY)
    refuse(play, ANN, Reinforce(territory=theirs, troops=101), why.TERRITORY_NOT_YOURS)
    refuse(play, ANN, Reinforce(territory=mine, troops=101), why.RESERVE_TOO_SMALL)
    do(play, ANN, Reinforce(territory=mine, troops=100))
    assert (troops(play, mine), play.state.players[ANN].reserve) == (101, 0)
    refuse(play, ANN, Reinforce(territory=mine, troops=1), why.RESERVE_TOO_SMALL)
    play.check_all()


def test_a_territory_can_be_full() -> None:
    play = round_of("ann", "bob", income_seconds=1, income_base=50)
    here = owned(play, ANN)[0]
    there = next(one for one in play.state.atlas.neighbours[here] if owner(play, one) != BOB)
    if owner(play, there) == NOBODY:
        storm(play, ANN, here, there)
    play.ticks(20 * 20 - 10)
    room = 500 - troops(play, here)
    refuse(play, ANN, Reinforce(territory=here, troops=room + 1), why.TERRITORY_FULL)
    do(play, ANN, Reinforce(territory=here, troops=room))
    do(play, ANN, Reinforce(territory=there, troops=100))
    refuse(play, ANN, Move(source=there, target=here, troops=1), why.TERRITORY_FULL)
    do(play, ANN, Move(source=here, target=there, troops=1))
    do(play, ANN, Move(source=there, target=here, troops=1))
    assert troops(play, here) == 500
    play.check_all()


def test_attack() -> None:
    play = round_of("ann", "bob", "cat", "dan", attack_rest_ms=100)
    source, target = borders(play, ANN, BOB)[0]
    theirs, far = owned(play, BOB)[0], far_from(play, source)
    refuse(play, ANN, Attack(source=15, target=16, troops=9), why.NO_SUCH_SOURCE)
    refuse(play, ANN, Attack(source=theirs, target=16, troops=9), why.NO_SUCH_TARGET)
    refuse(play, ANN, Attack(source=theirs, target=far, troops=9), why.SOURCE_NOT_YOURS)
    refuse(play, ANN, Attack(source=source, target=far, troops=9), why.NOT_NEIGHBOURS)
    refuse(play, ANN, Attack(source=source, target=source, troops=9), why.NOT_NEIGHBOURS)
    refuse(play, ANN, Attack(source=source, target=target, troops=1), why.TOO_FEW_TROOPS)
    do(play, ANN, Reinforce(territory=source, troops=199))
    refuse(play, ANN, Attack(source=source, target=target, troops=200), why.TOO_FEW_TROOPS)
    do(play, ANN, Attack(source=source, target=target, troops=100))
    assert owner(play, target) == ANN
    refuse(play, ANN, Attack(source=source, target=target, troops=500), why.TARGET_YOURS)
    play.check_all()


def test_troops_rest_after_an_attack_where_they_were_and_where_they_are() -> None:
    play = round_of("ann", "bob", "cat", attack_rest_ms=2000, move_rest_ms=0)
    source, target = borders(play, ANN, BOB)[0]
    do(play, ANN, Reinforce(territory=source, troops=200))
    do(play, ANN, Attack(source=source, target=target, troops=100))
    began = play.now
    back = Move(source=target, target=source, troops=1)
    refuse(play, ANN, back, why.SOURCE_RESTS)
    refuse(play, ANN, Move(source=source, target=target, troops=400), why.SOURCE_RESTS)
    play.run_to(began + 38)
    refuse(play, ANN, back, why.SOURCE_RESTS)
    do(play, ANN, back)  # In tick 40 after the attack.
    assert play.now == began + 40


def test_an_attack_that_fails_costs_what_was_sent_and_no_more() -> None:
    play = round_of("ann", "bob", "cat")
    source, target = borders(play, ANN, BOB)[0]
    do(play, BOB, Reinforce(territory=target, troops=200))
    do(play, ANN, Reinforce(territory=source, troops=10))
    do(play, ANN, Attack(source=source, target=target, troops=10))
    battle = play.state.battles[1]
    assert (troops(play, source), owner(play, target)) == (1, BOB)
    assert (battle.attacker, battle.defender, battle.source, battle.target) == (
        ANN,
        BOB,
        source,
        target,
    )
    assert (battle.sent, battle.attackers_lost, battle.conquered) == (10, 10, False)
    assert battle.defenders_lost == 201 - troops(play, target)
    assert battle.tick == play.now
    play.check_all()


def test_the_survivors_of_an_attack_move_in() -> None:
    play = round_of("ann", "bob", "cat")
    source, target = borders(play, ANN, BOB)[0]
    do(play, ANN, Reinforce(territory=source, troops=200))
    do(play, ANN, Attack(source=source, target=target, troops=150))
    battle = play.state.battles[1]
    assert (owner(play, target), troops(play, source)) == (ANN, 51)
    assert troops(play, target) == 150 - battle.attackers_lost
    assert (battle.defender, battle.conquered, battle.defenders_lost) == (BOB, True, 1)
    assert [player.territories for player in play.state.players] == [6, 4, 5]


def test_the_last_battles_are_kept_and_no_more() -> None:
    play = round_of("ann", "bob", "cat")
    source, target = borders(play, ANN, BOB)[0]
    do(play, BOB, Reinforce(territory=target, troops=200))
    do(play, ANN, Reinforce(territory=source, troops=100))
    for _ in range(11):
        do(play, ANN, Attack(source=source, target=target, troops=1))
    assert len(play.state.battles) == 8
    ticks = [battle.tick for battle in play.state.battles]
    assert sorted(ticks) == list(range(play.now - 7, play.now + 1))
    play.check_all()


def test_move() -> None:
    play = round_of("ann", "bob", move_rest_ms=1000)
    beside = play.state.atlas.neighbours
    source, empty, theirs = next(
        (source, empty, other)
        for source, empty in borders(play, ANN, NOBODY)
        for other in beside[source]
        if owner(play, other) == BOB
    )
    far = far_from(play, source)
    storm(play, ANN, source, empty)
    move = Move(source=source, target=empty, troops=1)
    refuse(play, ANN, Move(source=99, target=98, troops=500), why.NO_SUCH_SOURCE)
    refuse(play, ANN, Move(source=owned(play, BOB)[0], target=98, troops=500), why.NO_SUCH_TARGET)
    refuse(play, BOB, move, why.SOURCE_NOT_YOURS)
    refuse(play, ANN, Move(source=source, target=far, troops=500), why.NOT_NEIGHBOURS)
    refuse(play, ANN, Move(source=source, target=theirs, troops=500), why.TARGET_NOT_YOURS)
    refuse(play, ANN, Move(source=source, target=empty, troops=500), why.TOO_FEW_TROOPS)
    assert troops(play, source) == 1
    do(play, ANN, Move(source=empty, target=source, troops=troops(play, empty) - 1))
    play.ticks(20)
    both = troops(play, source) + troops(play, empty)
    do(play, ANN, move)
    assert troops(play, source) + troops(play, empty) == both
    refuse(play, ANN, move, why.SOURCE_RESTS)
    back = Move(source=empty, target=source, troops=1)
    refuse(play, ANN, back, why.SOURCE_RESTS)
    play.ticks(20)
    do(play, ANN, back)
    play.check_all()


def test_surrender_leaves_the_troops_to_nobody() -> None:
    play = round_of("ann", "bob", "cat")
    left = {index: troops(play, index) for index in owned(play, BOB)}
    do(play, BOB, Surrender())
    bob = play.state.players[BOB]
    assert (bob.status, bob.territories, bob.reserve) == (Status.OUT, 0, 0)
    for index, count in left.items():
        assert (owner(play, index), troops(play, index)) == (NOBODY, count)
    refuse(play, BOB, Surrender(), why.NOT_IN_ROUND)
    refuse(play, BOB, Reinforce(territory=99, troops=1), why.NOT_IN_ROUND)
    refuse(play, BOB, Attack(source=99, target=99, troops=1), why.NOT_IN_ROUND)
    refuse(play, BOB, Move(source=99, target=99, troops=1), why.NOT_IN_ROUND)
    refuse(play, BOB, OfferAlliance(other=BOB), why.NOT_IN_ROUND)
    assert play.state.phase is Phase.PLAYING
    play.check_all()


def test_nothing_but_ready_is_for_the_lobby() -> None:
    play = lobby_of("ann", "bob")
    refuse(play, ANN, Reinforce(territory=0, troops=1), why.NOT_PLAYING)
    refuse(play, ANN, Attack(source=0, target=1, troops=1), why.NOT_PLAYING)
    refuse(play, ANN, Move(source=0, target=1, troops=1), why.NOT_PLAYING)
    refuse(play, ANN, OfferAlliance(other=BOB), why.NOT_PLAYING)
    refuse(play, ANN, AcceptAlliance(other=BOB), why.NOT_PLAYING)
    refuse(play, ANN, Surrender(), why.NOT_PLAYING)


def test_who_comes_during_a_round_waits() -> None:
    play = round_of("ann", "bob")
    cat = play.sit("cat")
    assert play.state.players[cat].status is Status.WAITING
    refuse(play, cat, Surrender(), why.NOT_IN_ROUND)
    refuse(play, ANN, OfferAlliance(other=cat), why.NO_SUCH_PLAYER)


@pytest.mark.parametrize(
    "body",
    [
        [2, 0, 0],
        [2, 0, 501],
        [2, -1, 1],
        [2, 128, 1],
        [3, 0, 1],
        [3, 0, 1, 1, 1],
        [3, 0, 1, 1.5],
        [3, 0, "1", 1],
        [5, 8],
        [5, -1],
        [1, 1],
        [9, 1],
        [10],
        [],
    ],
    ids=str,
)
def test_what_is_no_command_is_no_command(body: list[object]) -> None:
    play = lobby_of("ann")
    with pytest.raises((msgspec.ValidationError, msgspec.DecodeError)):
        play.room.decode(msgspec.msgpack.encode(body))


def test_every_reason_has_its_own_code_and_name() -> None:
    assert len({reason.code for reason in GAME.reasons}) == len(GAME.reasons) == 28
    assert len({reason.name for reason in GAME.reasons}) == len(GAME.reasons)
    assert all(reason.code >= 100 for reason in GAME.reasons)
    assert all(getattr(why, reason.name) is reason for reason in GAME.reasons)
