"""What a room's creator may choose."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gameserver.games.keno.paytable import STAKE_FLOOR_MINOR

TICKS_PER_SECOND = 20
STAKE_CEILING_MINOR = 10_000_000
PAYOUT_CEILING_MINOR = 100_000_000_000
ROUND_BETS_MAX = 10_000  # Of all players together, so that a draw stays within its slot.
# What a round pays at most is a number that the state can hold.
assert PAYOUT_CEILING_MINOR * ROUND_BETS_MAX < 2**53

StakeMinor = Annotated[int, msgspec.Meta(ge=STAKE_FLOOR_MINOR, le=STAKE_CEILING_MINOR)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pace of the rounds and the limits of bets. Amounts are in minor units."""

    round_seconds: Annotated[int, msgspec.Meta(ge=2, le=60)] = 5
    stake_min_minor: StakeMinor = 100
    stake_max_minor: StakeMinor = 10_000
    stake_total_max_minor: Annotated[
        int, msgspec.Meta(ge=STAKE_FLOOR_MINOR, le=20 * STAKE_CEILING_MINOR)
    ] = 50_000
    bets_per_round_max: Annotated[int, msgspec.Meta(ge=1, le=20)] = 10
    payout_max_minor: Annotated[
        int, msgspec.Meta(ge=STAKE_FLOOR_MINOR, le=PAYOUT_CEILING_MINOR)
    ] = 1_000_000_000

    def __post_init__(self) -> None:
        """Check the settings against each other; ValueError names the one that is wrong."""
        if self.stake_min_minor > self.stake_max_minor:
            raise ValueError("stake_min_minor is more than stake_max_minor")
        if self.stake_max_minor > self.stake_total_max_minor:
            raise ValueError("stake_max_minor is more than stake_total_max_minor")
        if self.stake_max_minor > self.payout_max_minor:
            raise ValueError("payout_max_minor is less than stake_max_minor")

    @property
    def round_ticks(self) -> int:
        """Return the time from one opening of the bets to the next."""
        return self.round_seconds * TICKS_PER_SECOND

    @property
    def betting_ticks(self) -> int:
        """Return how long bets are taken; the last quarter of a round shows its result."""
        return self.round_ticks * 3 // 4
