"""Whatever players do, legal or not: what must always hold in Conquest holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from gameserver.engine import snapshot
from gameserver.engine.commands import Command
from gameserver.games.conquest import alliances, board
from gameserver.games.conquest.commands import (
    AcceptAlliance,
    Attack,
    DeclineAlliance,
    EndAlliance,
    Move,
    OfferAlliance,
    Ready,
    Reinforce,
    Surrender,
)
from gameserver.games.conquest.state import (
    NOBODY,
    Ending,
    Exit,
    Phase,
    State,
    Status,
    territories_of,
)
from tests.games.conquest.rooms import GAME, alive, is_open, lobby_of, owned, owner, phase, troops
from tests.games.play import Play

NAMES = ("ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal")

PLAYS = st.fixed_dictionaries(
    {
        "players": st.integers(2, 8),
        "seed": st.integers(0, 2**32),
        "steps": st.sampled_from((10, 100, 300)),
        "fog": st.booleans(),
        "victory_percent": st.sampled_from((60, 100)),
        "allies_max": st.integers(0, 3),
        "start_reserve": st.sampled_from((0, 30)),
    }
)


class Chance:
    """Plays a room at random, checking after each step what must always hold.

    Legal commands are preferred, so that rounds go somewhere; the others are as wild as they come.
    """

    def __init__(self, drawn: dict[str, Any]) -> None:
        self.random = random.Random(drawn["seed"])
        self.count = drawn["players"]
        chosen = {key: drawn[key] for key in ("fog", "victory_percent", "allies_max")}
        self.play = lobby_of(
            **chosen,
            start_reserve=drawn["start_reserve"],
            start_troops=4,
            start_seconds=1,
            income_seconds=2,
            attack_rest_ms=50,
            notice_seconds=1,
            time_limit_seconds=20,
            rematch_seconds=2,
            absent_seconds=5,
            empty_seconds=10,
        )
        self.accepted: set[type[Command]] = set()
        for name in NAMES[: self.count]:
            self.play.sit(name)

    def step(self) -> None:
        """Do one thing at random."""
        play, chance = self.play, self.random
        kinds: list[tuple[int, Callable[[], None]]] = [
            (60, self.command),
            (6, lambda: play.ticks(chance.choice((1, 5, 40)))),
            (2, self.come_or_go),
        ]
        weights = [weight for weight, _ in kinds]
        chance.choices([act for _, act in kinds], weights)[0]()
        check_invariants(play)

    def come_or_go(self) -> None:
        """Let somebody lose the connection, leave, or come (back)."""
        play, chance = self.play, self.random
        name = chance.choice(NAMES[: self.count])
        if chance.random() < 0.6 or len(play.room.seats) < 2:
            play.try_sit(name)
            return
        seat = chance.choice(play.room.seats.keys_in_order())
        if chance.random() < 0.8:
            play.lose(seat)
        else:
            play.leave(seat)

    def command(self) -> None:
        """Let somebody ask for something, and check where all troops have gone."""
        play, chance = self.play, self.random
        if not len(play.room.seats) or not is_open(play):
            return
        seat = chance.choice(play.room.seats.keys_in_order())
        command = self.wild(seat) if chance.random() < 0.3 else self.legal(seat)
        play.room.now = play.now + 1  # The tick in which it will be decided.
        reason = command.validate(play.room, seat)
        due = play.room.due_tick
        quiet = due is None or due > play.now + 1
        before, dumped = troops_total(play), play.snapshot_of_game()
        reserves = {one: play.state.players[one].reserve for one in alive(play)}
        said = play.command(seat, command)
        if said is None:
            self.accepted.add(type(command))
        if not quiet:
            return
        assert said == reason  # And so it did not fail.
        if said is not None:
            assert play.snapshot_of_game() == dumped
            return
        gone = sum(kept for one, kept in reserves.items() if one not in alive(play))
        assert troops_total(play) == before - gone - losses(play, command)

    def wild(self, seat: int) -> Command:
        """Return any command at all."""
        below = self.random.randrange
        other, here, there, count = below(8), below(17), below(17), below(1, 30)
        return self.random.choice(
            (
                Ready(ready=below(2) == 0),
                Reinforce(territory=here, troops=count),
                Attack(source=here, target=there, troops=count),
                Move(source=here, target=there, troops=count),
                OfferAlliance(other=other),
                AcceptAlliance(other=other),
                DeclineAlliance(other=other),
                EndAlliance(other=other),
                Surrender() if below(30) == 0 else Ready(ready=True),
            )
        )

    def legal(self, seat: int) -> Command:
        """Return a command that would be accepted if there is one among some tries."""
        play, chance = self.play, self.random
        mine = owned(play, seat)
        command = self.wild(seat)
        for _ in range(8):
            if command.validate(play.room, seat) is None:
                break
            command = self.wild(seat)
            if mine and chance.random() < 0.8:
                here = chance.choice(mine)
                there = chance.choice(play.state.atlas.neighbours[here])
                spare = max(1, troops(play, here) - 1)
                reserve = max(1, play.state.players[seat].reserve)
                command = chance.choice(
                    (
                        Reinforce(territory=here, troops=min(reserve, 500)),
                        Attack(source=here, target=there, troops=spare),
                        Move(source=here, target=there, troops=spare),
                    )
                )
        return command


def troops_total(play: Play[State]) -> int:
    """Return all troops there are, on the board and in hand."""
    on_board = sum(one.troops for one in territories_of(play.state))
    return on_board + sum(player.reserve for player in play.state.players)


def losses(play: Play[State], command: Command) -> int:
    """Return how many troops an accepted command has cost all sides."""
    if not isinstance(command, Attack):
        return 0
    state = play.state
    battles = state.fogged_battles if state.fog else state.battles
    battle = battles[state.battles_fought % 8]
    assert (battle.tick, battle.source, battle.target) == (
        play.now,
        command.source,
        command.target,
    )
    assert battle.conquered == (owner(play, command.target) == battle.attacker)
    return battle.attackers_lost + battle.defenders_lost


def check_invariants(play: Play[State]) -> None:
    """Check all that must hold after every tick."""
    players = play.state.players
    assert players.keys_in_order() == play.room.seats.keys_in_order()
    check_board(play)
    for seat in players.keys_in_order():
        player = players[seat]
        assert player.reserve >= 0
        if player.status is not Status.ALIVE:
            assert (player.territories, player.reserve, player.allies) == (0, 0, 0)
        assert bool(player.absent_tick) is not play.room.seats[seat].present
        for other in range(8):
            if player.allies >> other & 1:
                assert players[other].allies >> seat & 1
                assert player.status is players[other].status is Status.ALIVE
        assert player.allies.bit_count() <= play.room.settings.allies_max
    check_times(play)


def check_board(play: Play[State]) -> None:
    """Every territory has one owner or none, troops, and those who see it."""
    state, players = play.state, play.state.players
    for index in range(len(territories_of(state))):
        assert owner(play, index) == NOBODY or owner(play, index) in players
        low = 0 if state.phase is Phase.LOBBY else 1
        assert low <= troops(play, index) <= 500
        if state.fog:
            assert state.fogged_territories[index].seen_by == board.seen_by(state, index)
    for seat in players.keys_in_order():
        assert len(owned(play, seat)) == players[seat].territories
    if state.phase is Phase.PLAYING:
        living = alive(play)
        assert len(living) >= 2
        assert all(owned(play, seat) for seat in living)
        most = max(players[seat].territories for seat in living)
        assert most < state.victory_territories


def check_times(play: Play[State]) -> None:
    """No round outlives its time, and what is noted as the earliest is the earliest."""
    state = play.state
    absent = [
        player.absent_tick
        for player in state.players
        if player.absent_tick
        and (
            state.phase is Phase.LOBBY
            or (state.phase is Phase.PLAYING and player.status is Status.ALIVE)
        )
    ]
    assert state.absent_tick == min(absent, default=0)
    ends = [notice.ends_tick for notice in state.notices]
    assert state.notice_tick == min(ends, default=0)
    if state.phase is Phase.PLAYING:
        assert state.limit_tick > play.now
        living = alliances.alive_seats(state)
        everybody = sum(1 << seat for seat in living)
        united = [state.players[seat].allies | 1 << seat == everybody for seat in living]
        assert not all(united)
    else:
        assert (state.limit_tick, state.income_tick, len(state.offers)) == (0, 0, 0)
        assert len(state.notices) == 0
    if is_open(play):
        present = [seat for seat in play.room.seats if seat.present]
        assert bool(present) == (state.empty_tick == 0)


@settings(max_examples=40)
@given(PLAYS)
def test_whatever_is_played_the_invariants_hold_and_the_round_ends(drawn: dict[str, Any]) -> None:
    chance = Chance(drawn)
    for _ in range(drawn["steps"]):
        chance.step()
    play = chance.play
    play.check_all()
    if is_open(play) and phase(play) is Phase.PLAYING:
        number = play.state.round_number
        play.run_to(play.state.limit_tick)
        assert number in [result.round_number for result in play.results()]
    assert [result.round_number for result in play.results()] == list(
        range(1, len(play.results()) + 1)
    )
    for seat in tuple(play.room.seats.keys_in_order()):
        play.lose(seat)
    play.ticks(60 * 20)
    assert not is_open(play)  # A room without players ends by rule.
    check_points(play)
    play.check_all()


def test_random_play_gets_everywhere() -> None:
    """Properties of rounds that never fight or never end would prove nothing."""
    accepted: set[type[Command]] = set()
    endings, exits = set(), set()
    for seed in range(24):
        drawn = {"players": 2 + seed % 7, "seed": seed, "fog": seed % 2 == 0}
        chance = Chance(
            drawn | {"victory_percent": 60, "allies_max": 3, "start_reserve": 30 * (seed % 3)}
        )
        for _ in range(200):
            chance.step()
        accepted |= chance.accepted
        for result in chance.play.results():
            _, _, _, _, ending, _, placings = msgpack.unpackb(result.payload)
            endings.add(Ending(ending))
            exits |= {Exit(placing[-1]) for placing in placings}
    assert accepted == set(GAME.commands)
    assert endings >= {Ending.SHARE, Ending.LAST_STANDING, Ending.TIME}
    assert exits == set(Exit)


def check_points(play: Play[State]) -> None:
    """Nobody is given points twice for a round, and nobody's are negative."""
    references = [score.reference for score in play.scores()]
    assert len(set(references)) == len(references)
    assert all(score.points > 0 for score in play.scores())


@settings(max_examples=15)
@given(PLAYS, st.floats(0, 1))
def test_a_room_goes_on_the_same_from_any_snapshot(drawn: dict[str, Any], when: float) -> None:
    chance = Chance(drawn)
    taken = []
    for _ in range(drawn["steps"]):
        chance.step()
        taken.append(chance.play.snapshot())
    play = chance.play
    early = taken[int(when * (len(taken) - 1))]
    play.check_replay(early)
    play.check_replay()
    again = snapshot.load(play.game, early)
    assert snapshot.dump(again) == early
    assert again.due_tick == snapshot.load(play.game, early).due_tick


@settings(max_examples=15)
@given(PLAYS)
def test_a_killed_server_goes_on_where_it_was(drawn: dict[str, Any]) -> None:
    chance = Chance(drawn)
    play = chance.play
    for _ in range(min(drawn["steps"], 60)):
        chance.step()
    board_before = [(owner(play, index), troops(play, index)) for index in range(15)]
    phase_before = play.state.phase
    play.recover(play.snapshot())
    if play.state.phase is phase_before:
        assert board_before == [(owner(play, index), troops(play, index)) for index in range(15)]
    for name in NAMES[: drawn["players"]]:
        play.try_sit(name)
    for _ in range(30):
        chance.step()
    play.check_all()
