"""Who owns what, who sees what, what it brings in, and what happens when troops meet.

Knows territories and the counts that follow from them. When a round begins or ends is not known
here.
"""

from __future__ import annotations

from typing import Any

from gameserver.engine.room import Room
from gameserver.games.conquest.battle import fought, throws
from gameserver.games.conquest.settings import Settings, ticks_of_ms
from gameserver.games.conquest.state import (
    BATTLES_SHOWN,
    EVERY_SEAT,
    NOBODY,
    FoggedBattle,
    Phase,
    State,
    battles_of,
    territories_of,
)

# However long troops are gathered, a battle stays a matter of some hundred throws.
TROOPS_MAX = 500

TERRITORIES_PER_TROOP = 3
SHARES_MIN = 3  # Two players get a third of the world each, so that there is something to take.


def deal(room: Room[State], seats: list[int]) -> None:
    """Give each player as many territories as any other, by dice; what is left is nobody's."""
    state, settings = room.state, room.settings
    territories = territories_of(state)
    share = len(territories) // max(len(seats), SHARES_MIN)
    order = room.dice.shuffled(tuple(range(len(territories))))
    for at, index in enumerate(order):
        territory = territories[index]
        dealt = at < share * len(seats)
        territory.owner = seats[at % len(seats)] if dealt else NOBODY
        territory.troops = settings.start_troops if dealt else settings.neutral_troops
        territory.rest_tick = 0
    for seat in seats:
        state.players[seat].territories = share
    show(state, range(len(territories)))


def clear(state: State) -> None:
    """Take everything off the board."""
    for territory in territories_of(state):
        territory.owner, territory.troops, territory.rest_tick = NOBODY, 0, 0
    for battle in battles_of(state):
        battle.tick = 0
        if isinstance(battle, FoggedBattle):
            battle.seen_by = 0
    for player in state.players:
        player.territories = player.reserve = 0


def hand_over(state: State, index: int, owner: int) -> None:
    """Give a territory to another owner, with all that follows from it."""
    territory = territories_of(state)[index]
    if territory.owner != NOBODY:
        state.players[territory.owner].territories -= 1
    if owner != NOBODY:
        state.players[owner].territories += 1
    territory.owner = owner
    if state.fog:
        show(state, (index, *state.atlas.neighbours[index]))


def show(state: State, indices: Any) -> None:
    """Set anew who sees these territories."""
    if state.fog:
        for index in indices:
            state.fogged_territories[index].seen_by = seen_by(state, index)


def seen_by(state: State, index: int) -> int:
    """Return who sees a territory: its owner, their allies, and the owners of its neighbours.

    Outside of a round everybody does.
    """
    if state.phase is not Phase.PLAYING:
        return EVERY_SEAT
    territories = state.fogged_territories
    owner = territories[index].owner
    seats = 0
    if owner != NOBODY:
        seats = 1 << owner | state.players[owner].allies
    for beside in state.atlas.neighbours[index]:
        owner = territories[beside].owner
        if owner != NOBODY:
            seats |= 1 << owner
    return seats


def owned_by(state: State, seat: int) -> list[int]:
    """Return the territories that a player owns."""
    territories = territories_of(state)
    return [index for index in range(len(territories)) if territories[index].owner == seat]


def income(state: State, settings: Settings, seat: int) -> int:
    """Return the troops that a player gets: a base, for territories, and for whole regions."""
    territories = territories_of(state)
    bonuses = list(state.atlas.region_bonuses)
    for index, region in enumerate(state.atlas.territory_regions):
        if territories[index].owner != seat:
            bonuses[region] = 0
    count = state.players[seat].territories
    return settings.income_base + count // TERRITORIES_PER_TROOP + sum(bonuses)


def fight(room: Room[State], source: int, target: int, troops: int) -> int | None:
    """Send troops into battle; return whose territory they conquered, or None if they did not.

    The survivors of an attack that succeeds move in and rest; the others are lost.
    """
    state = room.state
    territories = territories_of(state)
    here, there = territories[source], territories[target]
    state.battles_fought += 1
    left, holding = fought(troops, there.troops, throws(room.dice.seed, state.battles_fought))
    _report(room, (source, target), troops, left, holding)
    rest_tick = room.now + ticks_of_ms(room.settings.attack_rest_ms)
    here.troops -= troops
    here.rest_tick = rest_tick
    if holding:
        there.troops = holding
        return None
    loser = there.owner
    there.troops = left
    there.rest_tick = rest_tick
    hand_over(state, target, here.owner)
    return loser


def _report(room: Room[State], where: tuple[int, int], sent: int, left: int, holding: int) -> None:
    """Put a battle in the place of the oldest, for those who saw both territories before it."""
    state = room.state
    territories = territories_of(state)
    here, there = territories[where[0]], territories[where[1]]
    battle = battles_of(state)[state.battles_fought % BATTLES_SHOWN]
    battle.tick = room.now
    battle.attacker = here.owner
    battle.defender = there.owner
    battle.source, battle.target = where
    battle.sent = sent
    battle.attackers_lost = sent - left
    battle.defenders_lost = there.troops - holding
    battle.conquered = not holding
    if isinstance(battle, FoggedBattle):
        seen = state.fogged_territories
        battle.seen_by = seen[where[0]].seen_by & seen[where[1]].seen_by


def forget_seat(state: State, seat: int) -> None:
    """Take the sight of past battles from a seat, before somebody else has it."""
    for battle in state.fogged_battles:
        battle.seen_by &= ~(1 << seat)
