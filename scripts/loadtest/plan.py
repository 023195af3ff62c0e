"""What a run is to do, and how it is spread over rooms and processes.

Plain data: it is read from the command line once and handed to every process.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

CLIENTS_PER_PROCESS = 400
CLIENTS_PER_ROOM = 10


@dataclass(frozen=True)
class RoomPlan:
    """One room: its game, its number among those of that game, and the bots that play in it."""

    game: str
    number: int
    first_bot: int
    bots: int


@dataclass(frozen=True)
class Plan:
    """One run, or one process's share of it."""

    url: str
    games: tuple[str, ...]
    clients: int
    rooms: int
    rate: float
    duration_s: float
    procs: int
    seed: int
    verify_interval_s: float
    places: tuple[RoomPlan, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return this as plain data."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Plan":
        """Return the plan that was made plain."""
        places = tuple(RoomPlan(**place) for place in plain["places"])
        return cls(**{**plain, "games": tuple(plain["games"]), "places": places})


def placed(plan: Plan, seats_max: dict[str, int]) -> Plan:
    """Spread clients over rooms: games in turn, rooms as evenly filled as can be.

    A room takes no more than its game's ``seats_max``; where ``plan.rooms`` are too few for that,
    there are more.
    """
    shares = _even(plan.clients, len(plan.games))
    wanted = _even(plan.rooms, len(plan.games))
    places: list[RoomPlan] = []
    first = 0
    for game, clients, rooms in zip(plan.games, shares, wanted, strict=True):
        needed = -(-clients // seats_max[game])
        count = min(max(rooms, needed), clients)
        for number, bots in enumerate(_even(clients, count) if count else []):
            places.append(RoomPlan(game, number, first, bots))
            first += bots
    return replace(plan, rooms=len(places), places=tuple(places))


def shares(plan: Plan) -> list[Plan]:
    """Return what each process does; a room's bots stay together."""
    procs = min(plan.procs, len(plan.places))
    parts: list[list[RoomPlan]] = [[] for _ in range(procs)]
    loads = [0] * procs
    for place in plan.places:
        lightest = loads.index(min(loads))
        parts[lightest].append(place)
        loads[lightest] += place.bots
    return [
        replace(plan, clients=load, rooms=len(part), procs=1, places=tuple(part))
        for part, load in zip(parts, loads, strict=True)
    ]


def procs_for(clients: int, cores: int) -> int:
    """Return how many processes a number of bots takes: one core is left for the server."""
    return max(1, min(-(-clients // CLIENTS_PER_PROCESS), cores - 1))


def rooms_for(clients: int) -> int:
    """Return how many rooms a number of bots plays in by default."""
    return max(1, clients // CLIENTS_PER_ROOM)


def _even(total: int, parts: int) -> list[int]:
    return [total * (at + 1) // parts - total * at // parts for at in range(parts)]
