"""The state of a room of Conquest, and who may see what of it.

Knows no rule. Territories and battles are held twice, as records for everybody and as records
for those who see them; a room uses the first without fog and the second with it.
"""

from __future__ import annotations

from enum import IntEnum

from gameserver.engine.fields import part, private, public, secret, table
from gameserver.engine.records import Record, Table

SEATS_MAX = 8
NOBODY = -1  # Stands where a seat would: a territory without owner, a round without winner.
EVERY_SEAT = (1 << SEATS_MAX) - 1
BATTLES_SHOWN = 8  # The last battles; each new one takes the place of the oldest.


class Phase(IntEnum):
    """Where a round stands."""

    LOBBY = 0
    PLAYING = 1
    ENDED = 2


class Status(IntEnum):
    """What a seated player is to the round."""

    WAITING = 0
    ALIVE = 1
    OUT = 2


class Ending(IntEnum):
    """What ended the round."""

    NONE = 0
    SHARE = 1
    LAST_STANDING = 2
    TIME = 3
    ABANDONED = 4


class Exit(IntEnum):
    """How a player's round ended."""

    STOOD = 0
    ELIMINATED = 1
    SURRENDERED = 2
    LEFT = 3
    ABSENT = 4


class Atlas(Record):
    """The world as its players know it; nothing of it changes. See ``worlds.World``."""

    name: str = public(1, default="")
    version: int = public(2, default=0)
    region_names: tuple[str, ...] = public(3, default=())
    region_bonuses: tuple[int, ...] = public(4, default=())
    territory_names: tuple[str, ...] = public(5, default=())
    territory_regions: tuple[int, ...] = public(6, default=())
    places: tuple[tuple[int, int], ...] = public(7, default=())
    neighbours: tuple[tuple[int, ...], ...] = public(8, default=())


class Player(Record):
    """A seated player. ``territories`` is how many they own; ``allies`` are seats as bits.

    ``absent_tick`` is 0 for who is present. From that tick on an absent player is out of the round,
    or, in the lobby, has no seat any more.
    """

    status: Status = public(1, default=Status.WAITING)
    ready: bool = public(2, default=False)
    territories: int = public(3, default=0)
    allies: int = public(4, default=0)
    absent_tick: int = public(5, default=0)
    reserve: int = private(6, default=0)


class Territory(Record):
    """A territory that everybody sees. Its troops attack and move again at ``rest_tick``."""

    owner: int = public(1, default=NOBODY)
    troops: int = public(2, default=0)
    rest_tick: int = public(3, default=0)


class FoggedTerritory(Record):
    """A territory that only some see."""

    owner: int = public(1, default=NOBODY)
    troops: int = public(2, default=0)
    rest_tick: int = public(3, default=0)
    seen_by: int = secret(4, default=EVERY_SEAT)


class Battle(Record):
    """One of the last battles; ``tick`` is 0 where there was none yet."""

    tick: int = public(1, default=0)
    attacker: int = public(2, default=NOBODY)
    defender: int = public(3, default=NOBODY)
    source: int = public(4, default=0)
    target: int = public(5, default=0)
    sent: int = public(6, default=0)
    attackers_lost: int = public(7, default=0)
    defenders_lost: int = public(8, default=0)
    conquered: bool = public(9, default=False)


class FoggedBattle(Record):
    """One of the last battles, for those who saw both territories as it was fought."""

    tick: int = public(1, default=0)
    attacker: int = public(2, default=NOBODY)
    defender: int = public(3, default=NOBODY)
    source: int = public(4, default=0)
    target: int = public(5, default=0)
    sent: int = public(6, default=0)
    attackers_lost: int = public(7, default=0)
    defenders_lost: int = public(8, default=0)
    conquered: bool = public(9, default=False)
    seen_by: int = secret(10, default=0)


class Offer(Record):
    """An alliance that one player has offered to another, known to the two alone."""

    by_seat: int = public(1)
    to_seat: int = public(2)
    seen_by: int = secret(3)


class Notice(Record):
    """An alliance that a player has ended; it still stands until ``ends_tick``."""

    by_seat: int = public(1)
    to_seat: int = public(2)
    ends_tick: int = public(3)


class Placing(Record):
    """How a round went for somebody; the key is the place. What they held is as of the end."""

    by_seat: int = public(1)
    account: int = public(2)
    points: int = public(3)
    territories: int = public(4)
    troops: int = public(5)
    how: Exit = public(6)


class State(Record):
    """A room of Conquest. A tick that is 0 does not come."""

    phase: Phase = public(1, default=Phase.LOBBY)
    round_number: int = public(2, default=0)
    fog: bool = public(3, default=False)
    ending: Ending = public(4, default=Ending.NONE)
    winner: int = public(5, default=NOBODY)
    round_players: int = public(6, default=0)
    victory_territories: int = public(7, default=0)
    start_tick: int = public(8, default=0)
    income_tick: int = public(9, default=0)
    limit_tick: int = public(10, default=0)
    lobby_tick: int = public(11, default=0)
    empty_tick: int = public(12, default=0)
    began_tick: int = public(13, default=0)
    # The earliest of the players' absences and of the notices, so that due times need no search.
    absent_tick: int = secret(14, default=0)
    notice_tick: int = secret(15, default=0)
    battles_fought: int = secret(16, default=0)
    atlas: Atlas = part(20)
    players: Table[int, Player] = table(21)
    territories: Table[int, Territory] = table(22)
    fogged_territories: Table[int, FoggedTerritory] = table(23)
    battles: Table[int, Battle] = table(24)
    fogged_battles: Table[int, FoggedBattle] = table(25)
    offers: Table[int, Offer] = table(26)
    notices: Table[int, Notice] = table(27)
    placings: Table[int, Placing] = table(28)


Territories = Table[int, Territory] | Table[int, FoggedTerritory]
Battles = Table[int, Battle] | Table[int, FoggedBattle]


def territories_of(state: State) -> Territories:
    """Return the territories that this room uses."""
    return state.fogged_territories if state.fog else state.territories


def battles_of(state: State) -> Battles:
    """Return the battles that this room uses."""
    return state.fogged_battles if state.fog else state.battles


def pair_key(by_seat: int, to_seat: int) -> int:
    """Return the key of what one player has said to another."""
    return by_seat * SEATS_MAX + to_seat
