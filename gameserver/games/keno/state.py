"""What a keno room remembers, and who may see it.

Bets are for their player alone. A bet whose player has left belongs to no seat any more, because
the seat may be another's by then: it waits among the strays, which nobody is shown, and is paid to
its account all the same.
"""

from __future__ import annotations

from enum import IntEnum

from gameserver.engine.fields import Visibility, part, private, public, secret, table
from gameserver.engine.records import Record, Table

VOID_HITS = -1  # Stands in a player's last bets where a round was void.

Last = tuple[tuple[int, int, int, int, tuple[int, ...]], ...]


class Phase(IntEnum):
    """Where the round stands."""

    SLEEPING = 0
    WAITING = 1
    OPEN = 2
    LOCKED = 3
    SETTLING = 4
    VOIDING = 5
    SHOWN = 6


MOVES: dict[Phase, tuple[Phase, ...]] = {
    Phase.SLEEPING: (Phase.WAITING,),
    Phase.WAITING: (Phase.OPEN, Phase.SLEEPING),
    Phase.OPEN: (Phase.LOCKED,),
    Phase.LOCKED: (Phase.SETTLING, Phase.VOIDING),
    Phase.SETTLING: (Phase.SHOWN,),
    Phase.VOIDING: (Phase.SHOWN,),
    Phase.SHOWN: (Phase.OPEN, Phase.WAITING, Phase.SLEEPING),
}


class Terms(Record):
    """What a bet may be and what it pays, fixed when the room opens.

    ``pays[n - 1][k]`` is in quarters of the stake for k hits of n spots; ``returns_ppm[n - 1]`` is
    what comes back in the long run, in millionths.
    """

    round_ticks: int = public(1, default=0)
    betting_ticks: int = public(2, default=0)
    stake_min_minor: int = public(3, default=0)
    stake_max_minor: int = public(4, default=0)
    stake_total_max_minor: int = public(5, default=0)
    bets_per_round_max: int = public(6, default=0)
    payout_max_minor: int = public(7, default=0)
    pays: tuple[tuple[int, ...], ...] = public(8, default=())
    returns_ppm: tuple[int, ...] = public(9, default=())


class Bet(Record, audience=Visibility.PRIVATE):
    """A bet of the round, under its hold's reference. It stands once the wallet has granted it."""

    spots: tuple[int, ...] = private(1)
    stake_minor: int = private(2)
    stands: bool = private(3, default=False)


class Stray(Record, audience=Visibility.SECRET):
    """A bet of the round whose player has left."""

    spots: tuple[int, ...] = secret(1)
    stake_minor: int = secret(2)
    stands: bool = secret(3)
    account: int = secret(4)


class Doomed(Record, audience=Visibility.SECRET):
    """A bet of a void round on which the wallet has not ruled: if granted, it goes back."""

    since_tick: int = secret(1)


class Player(Record, audience=Visibility.PRIVATE):
    """What a seat's player has in the round, and what became of the last bets.

    ``last`` has rows of (round, stake, hits, payout, spots), the newest at the end; hits are -1
    where the round was void and the stake went back. From ``absent_tick`` on, which is 0 for who is
    present, the seat is free for others once no bet is out.
    """

    last: Last = private(1, default=())
    references: tuple[str, ...] = secret(2, default=())
    net_minor: int = secret(3, default=0)
    absent_tick: int = secret(4, default=0)


class Drawn(Record):
    """A round that is over: all that it takes to compute its draw again. A void one has no draw."""

    commitment: bytes = public(1)
    seed: bytes = public(2)
    numbers: tuple[int, ...] = public(3)
    bets: int = public(4)
    staked_minor: int = public(5)
    paid_minor: int = public(6)
    void: bool = public(7)


class Keno(Record):
    """The round under way, its bets, and the rounds before it.

    ``commitment`` is that of the round under way, ``next_commitment`` that of the one to come, as
    soon as its seed is chosen. ``bets_standing``, ``players_standing`` and ``staked_minor`` count
    bets that the wallet has granted. Since ``frees_tick`` there may be seats to free; where nobody
    has a seat, the room ends at ``empty_tick``.
    """

    phase: Phase = public(1, default=Phase.SLEEPING)
    round_number: int = public(2, default=0)
    commitment: bytes = public(3, default=b"")
    next_commitment: bytes = public(4, default=b"")
    closes_tick: int = public(5, default=0)
    opens_tick: int = public(6, default=0)
    numbers: tuple[int, ...] = public(7, default=())
    bets_standing: int = public(8, default=0)
    players_standing: int = public(9, default=0)
    staked_minor: int = public(10, default=0)
    paid_minor: int = public(11, default=0)
    seed: bytes = secret(12, default=b"")
    next_seed: bytes = secret(13, default=b"")
    pending: int = secret(14, default=0)
    frees_tick: int = secret(21, default=0)
    empty_tick: int = secret(22, default=0)
    terms: Terms = part(15)
    results: Table[int, Drawn] = table(16)
    players: Table[int, Player] = table(17)
    bets: Table[str, Bet] = table(18)
    strays: Table[str, Stray] = table(19)
    doomed: Table[str, Doomed] = table(20)
