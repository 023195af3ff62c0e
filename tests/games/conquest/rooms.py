"""Rooms of Conquest for tests: rounds begun, territories found, troops put in place.

Positions are reached by real commands alone, so that every test can be replayed.
"""

from __future__ import annotations

from typing import Any

from gameserver.engine.commands import Command, Reason
from gameserver.games.conquest import Conquest
from gameserver.games.conquest.commands import Attack, Ready, Reinforce
from gameserver.games.conquest.state import Phase, State, Status, territories_of
from tests.games.play import Play

GAME = Conquest()

# The small world, no waiting, and enough in hand to be sure of a battle.
QUICK = {
    "world": "tarn",
    "attack_rest_ms": 0,
    "move_rest_ms": 0,
    "start_troops": 1,
    "start_reserve": 200,
    "neutral_troops": 1,
}


def lobby_of(*names: str, **settings: Any) -> Play[State]:
    """Return a room in which these players sit, on seats 0, 1, …"""
    play = Play(GAME, settings={**QUICK, **settings})
    for name in names:
        play.sit(name)
    return play


def round_of(*names: str, **settings: Any) -> Play[State]:
    """Return a room whose first round has just begun."""
    play = lobby_of(*names, **settings)
    for seat in range(len(names)):
        if play.state.phase is Phase.LOBBY:
            play.command(seat, Ready(ready=True))
    play.tick()
    assert play.state.phase is Phase.PLAYING
    return play


def owner(play: Play[State], index: int) -> int:
    """Return who owns a territory."""
    return territories_of(play.state)[index].owner


def troops(play: Play[State], index: int) -> int:
    """Return how many troops are on a territory."""
    return territories_of(play.state)[index].troops


def owned(play: Play[State], seat: int) -> list[int]:
    """Return the territories of a seat."""
    return [index for index in range(len(territories_of(play.state))) if owner(play, index) == seat]


def phase(play: Play[State]) -> Phase:
    """Return where the round stands."""
    return play.state.phase


def is_open(play: Play[State]) -> bool:
    """Tell whether the room is open."""
    return play.room.is_open


def holds(play: Play[State], seat: int, region: int) -> bool:
    """Tell whether a seat owns a region whole."""
    regions = play.state.atlas.territory_regions
    return all(owner(play, at) == seat for at, home in enumerate(regions) if home == region)


def borders(play: Play[State], seat: int, other: int) -> list[tuple[int, int]]:
    """Return all ways from a territory of one to a territory of the other."""
    return [
        (source, target)
        for source in owned(play, seat)
        for target in play.state.atlas.neighbours[source]
        if owner(play, target) == other
    ]


def far_from(play: Play[State], source: int) -> int:
    """Return a territory that is no neighbour."""
    beside = (source, *play.state.atlas.neighbours[source])
    return next(index for index in range(len(territories_of(play.state))) if index not in beside)


def alive(play: Play[State]) -> list[int]:
    """Return who is in the round."""
    state = play.state
    return [
        seat for seat in state.players.keys_in_order() if state.players[seat].status is Status.ALIVE
    ]


def do(play: Play[State], seat: int, *commands: Command) -> None:
    """Let a player do something that must be accepted."""
    for command in commands:
        said = play.command(seat, command)
        assert said is None, f"{command}: {said}"


def storm(play: Play[State], seat: int, source: int, target: int) -> None:
    """Take a territory, with as many troops of the reserve, and of later income, as it takes."""
    while owner(play, target) != seat:
        reserve = play.state.players[seat].reserve
        if reserve:
            room = 500 - troops(play, source)
            do(play, seat, Reinforce(territory=source, troops=min(reserve, room)))
        if troops(play, source) > 1:
            do(play, seat, Attack(source=source, target=target, troops=troops(play, source) - 1))
        else:
            play.run_to(play.state.income_tick)


def refuse(play: Play[State], seat: int, command: Command, reason: Reason) -> None:
    """Check that a command is refused with this reason, without a trace."""
    play.check(seat, command, reason)
