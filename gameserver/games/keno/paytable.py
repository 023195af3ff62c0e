"""What a bet pays, in exact parts of its stake, and what that returns to players.

A bet on n spots of which k are drawn ("hits") pays ``PAYS[n - 1][k]`` quarters of its stake. The
return to player is exact, by the hypergeometric distribution; tests keep it between 90 % and 95 %
for every number of spots and for every stake that is allowed, rounding included.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb

BALLS = 80
DRAWN = 20
SPOTS_MAX = 10
QUARTERS = 4  # Fine enough for the tables, and exact: a payout needs integers only.

PAYS: tuple[tuple[int, ...], ...] = (
    (0, 15),
    (0, 4, 36),
    (0, 0, 8, 188),
    (0, 0, 4, 24, 600),
    (0, 0, 2, 8, 68, 2_600),
    (0, 0, 0, 8, 32, 320, 6_000),
    (0, 0, 0, 4, 16, 88, 1_000, 28_000),
    (4, 0, 0, 0, 8, 48, 320, 4_000, 100_000),
    (4, 0, 0, 0, 4, 20, 160, 1_200, 18_000, 200_000),
    (12, 0, 0, 0, 2, 8, 80, 440, 4_000, 40_000, 400_000),
)
assert len(PAYS) == SPOTS_MAX
assert all(len(row) == spots + 1 for spots, row in enumerate(PAYS, start=1))

STAKE_FLOOR_MINOR = 10  # Below, rounding payouts down would cost players more than the tables say.


def payout_minor(pays: tuple[int, ...], hits: int, stake_minor: int, payout_max_minor: int) -> int:
    """Return what a bet pays, rounded down to a whole minor unit and capped."""
    return min(pays[hits] * stake_minor // QUARTERS, payout_max_minor)


def probability(spots: int, hits: int) -> Fraction:
    """Return how likely it is that ``hits`` of ``spots`` chosen numbers are drawn."""
    ways = comb(spots, hits) * comb(BALLS - spots, DRAWN - hits)
    return Fraction(ways, comb(BALLS, DRAWN))


def return_to_player(spots: int) -> Fraction:
    """Return the part of the stakes on ``spots`` numbers that comes back in the long run.

    It is what the table says, before payouts are rounded down and capped.
    """
    return sum(
        (
            probability(spots, hits) * Fraction(quarters, QUARTERS)
            for hits, quarters in enumerate(PAYS[spots - 1])
        ),
        Fraction(0),
    )


def return_of_stake(spots: int, stake_minor: int, payout_max_minor: int) -> Fraction:
    """Return the part of exactly this stake that comes back, rounding and cap included."""
    paid = (
        probability(spots, hits)
        * payout_minor(PAYS[spots - 1], hits, stake_minor, payout_max_minor)
        for hits in range(spots + 1)
    )
    return sum(paid, Fraction(0)) / stake_minor


def in_ppm(part: Fraction) -> int:
    """Return a part of one in millionths, rounded down."""
    return part.numerator * 1_000_000 // part.denominator
