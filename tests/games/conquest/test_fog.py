"""The fog hides what it should from everybody, in every byte, and shows what it should at once."""

from __future__ import annotations

from itertools import permutations

from gameserver.engine.fields import SEEN_BY
from gameserver.games.conquest.commands import (
    AcceptAlliance,
    Attack,
    EndAlliance,
    OfferAlliance,
    Reinforce,
    Surrender,
)
from gameserver.games.conquest.state import EVERY_SEAT, NOBODY, Phase, State
from tests.games.conquest.rooms import (
    alive,
    borders,
    do,
    lobby_of,
    owned,
    owner,
    phase,
    round_of,
    storm,
    troops,
)
from tests.games.play import Play

ANN, BOB, CAT, DAN = range(4)
FOG = {"fog": True, "victory_percent": 100}


def sights(play: Play[State], seat: int) -> set[int]:
    """Return what a seat should see, worked out from the rules alone."""
    neighbours = play.state.atlas.neighbours
    mine = owned(play, seat)
    seen = set(mine).union(*(neighbours[index] for index in mine))
    for ally in alive(play):
        if play.state.players[seat].allies >> ally & 1:
            seen.update(owned(play, ally))
    return seen


def check_sight(play: Play[State]) -> None:
    """Check that everybody is shown exactly what they should see."""
    territories = play.state.fogged_territories
    for seat in play.room.seats.keys_in_order():
        records = play.watcher(seat).view.records
        shown = {index for index in range(15) if territories[index].record_number in records}
        assert shown == sights(play, seat), f"seat {seat}"
    watching = play.watch().view.records
    assert not any(one.record_number in watching for one in territories)
    play.check_views()


def test_one_sees_own_territories_and_their_neighbours() -> None:
    play = round_of("ann", "bob", "cat", **FOG)
    check_sight(play)
    assert any(len(sights(play, seat)) < 15 for seat in (ANN, BOB, CAT))
    play.check_all()


def test_sight_follows_conquest() -> None:
    play = round_of("ann", "bob", "cat", "dan", **FOG)
    for seat, other in ((ANN, BOB), (BOB, CAT), (ANN, CAT), (DAN, ANN), (CAT, NOBODY)):
        for way in borders(play, seat, other)[:1]:
            storm(play, seat, *way)
            check_sight(play)
    play.check_all()


def test_a_conquest_writes_only_the_sight_of_the_territory_and_its_neighbours() -> None:
    play = round_of("ann", "bob", "cat", world="halcyra", **FOG)
    source, target = borders(play, ANN, BOB)[0]
    do(play, ANN, Reinforce(territory=source, troops=200))
    territories = play.state.fogged_territories
    before = [one.seen_by for one in territories]
    numbers = {one.record_number: index for index, one in enumerate(territories)}
    do(play, ANN, Attack(source=source, target=target, troops=200))
    changed = [index for index in range(42) if territories[index].seen_by != before[index]]
    assert owner(play, target) == ANN
    assert set(changed) <= {target, *play.state.atlas.neighbours[target]}
    assert set(changed)
    assert len(numbers) == 42


def test_allies_see_each_others_territories_and_no_more() -> None:
    play = round_of("ann", "bob", "cat", notice_seconds=1, **FOG)
    do(play, ANN, OfferAlliance(other=BOB))
    check_sight(play)
    do(play, BOB, AcceptAlliance(other=ANN))
    check_sight(play)
    assert set(owned(play, BOB)) <= sights(play, ANN)
    do(play, ANN, EndAlliance(other=BOB))
    check_sight(play)
    play.ticks(25)
    assert not play.state.players[ANN].allies
    check_sight(play)
    play.check_all()


def test_who_is_out_or_waits_sees_nothing_until_the_round_has_ended() -> None:
    play = round_of("ann", "bob", "cat", **FOG)
    do(play, CAT, Surrender())
    dan = play.sit("dan")
    check_sight(play)
    assert sights(play, CAT) == sights(play, dan) == set()
    do(play, BOB, Surrender())
    assert phase(play) is Phase.ENDED
    territories = play.state.fogged_territories
    assert {one.seen_by for one in territories} == {EVERY_SEAT}
    for seat in (ANN, BOB, CAT, dan):
        assert all(one.record_number in play.watcher(seat).view.records for one in territories)
    assert not any(one.record_number in play.watch().view.records for one in territories)
    play.check_all()


def test_everybody_sees_the_empty_board_of_the_lobby() -> None:
    play = lobby_of("ann", "bob", **FOG)
    for seat in (ANN, BOB):
        shown = play.watcher(seat).view.records
        assert all(one.record_number in shown for one in play.state.fogged_territories)
    play.check_all()


def test_a_battle_is_shown_to_those_who_saw_both_territories() -> None:
    play = round_of("ann", "bob", "cat", "dan", **FOG)
    seen = [sights(play, seat) for seat in range(4)]
    fought = set()
    for attacker, defender in permutations(range(4), 2):
        for source, target in borders(play, attacker, defender):
            # One troop against so many changes no owner, and so nobody's sight.
            for seat, index in ((defender, target), (attacker, source)):
                if troops(play, index) < 20:
                    do(play, seat, Reinforce(territory=index, troops=20))
            do(play, attacker, Attack(source=source, target=target, troops=1))
            assert owner(play, target) == defender
            battle = play.state.fogged_battles[play.state.battles_fought % 8]
            for seat in range(4):
                both = {source, target} <= seen[seat]
                assert (battle.record_number in play.watcher(seat).view.records) == both
                fought.add((both, source in seen[seat], target in seen[seat]))
            assert battle.record_number not in play.watch().view.records
    assert fought >= {(True, True, True), (False, True, False), (False, False, True)}
    play.check_all()


def test_past_battles_are_gone_when_the_lobby_opens() -> None:
    play = round_of("ann", "bob", "cat", **FOG)
    storm(play, ANN, *borders(play, ANN, BOB)[0])
    battle = play.state.fogged_battles[play.state.battles_fought % 8]
    assert battle.record_number in play.watcher(ANN).view.records
    for seat in (BOB, CAT):
        do(play, seat, Surrender())
    play.run_to(play.state.lobby_tick)
    assert battle.record_number not in play.watcher(ANN).view.records
    play.check_all()


def test_a_seat_that_is_taken_over_shows_nothing_of_the_former_player() -> None:
    play = round_of("ann", "bob", "cat", **FOG)
    storm(play, ANN, *borders(play, ANN, BOB)[0])
    play.leave(ANN)
    assert play.sit("eve") == ANN
    records = play.watcher(ANN).view.records
    assert not any(one.record_number in records for one in play.state.fogged_battles)
    assert not any(one.record_number in records for one in play.state.fogged_territories)
    play.check_all()


def test_a_reserve_is_known_to_its_player_alone() -> None:
    for fog in (False, True):
        play = round_of("ann", "bob", fog=fog, start_reserve=171)
        mark = (play.state.players[ANN].record_number, 6, 171)
        seen = [
            mark[2] == watcher.view.value(mark[0], mark[1])
            for watcher in (play.watcher(ANN), play.watcher(BOB), play.watch())
        ]
        assert seen == [True, False, False]


def test_the_number_of_troops_in_the_fog_is_in_nobodys_bytes_who_may_not_see_it() -> None:
    """Every territory gets a number of troops that nothing else in the room is."""
    play = round_of(
        "ann",
        "bob",
        "cat",
        fog=True,
        start_troops=50,
        income_base=50,
        income_seconds=2,
        victory_percent=100,
        time_limit_seconds=600,
    )
    play.run_to(700)  # From here on ticks are longer numbers than marks.
    before = {seat: len(watcher.frames) for seat, watcher in play.watchers.items()}
    marks = {}
    for index in range(15):
        marks[index] = bytes((0xCC, 200 + index))  # How MessagePack writes 200 + index.
        do(
            play,
            owner(play, index),
            Reinforce(territory=index, troops=200 + index - troops(play, index)),
        )
    found = hidden = 0
    for seat, watcher in play.watchers.items():
        seen = set() if seat is None else sights(play, seat)
        sent = b"".join(watcher.frames[before[seat] :])
        full = play._full(seat)  # What a newcomer on this seat is sent.
        for index, mark in marks.items():
            if index in seen:
                found += mark in sent and mark in full
            else:
                hidden += 1
                assert mark not in sent, f"seat {seat} was sent the troops of {index}"
                assert mark not in full, f"seat {seat} would be sent the troops of {index}"
    assert found == sum(len(sights(play, seat)) for seat in range(3))
    assert hidden > 15
    play.check_all()


def test_nobody_is_told_who_else_sees_a_territory_a_battle_or_an_offer() -> None:
    play = round_of("ann", "bob", "cat", **FOG)
    do(play, ANN, OfferAlliance(other=BOB))
    storm(play, ANN, *borders(play, ANN, BOB)[0])
    state = play.state
    shown = 0
    for seat in (ANN, BOB, CAT):
        records = play.watcher(seat).view.records
        for table in (state.fogged_territories, state.fogged_battles, state.offers):
            for one in table:
                (bits,) = (field.number for field in one.fields if field.name == SEEN_BY)
                fields = records.get(one.record_number)
                assert fields is None or bits not in fields
                shown += fields is not None
    assert shown > len(state.fogged_territories)
