"""The dice have the classic odds, exactly, and a battle follows from the dice alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, product, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.games.conquest.battle import LOSSES, THROWS, fought, throws

SEED = bytes(range(32))

# Of all ways in which the dice can fall: how many cost the attacker 0, 1 and 2 troops.
ODDS = {
    (3, 2): (2890, 2611, 2275),
    (3, 1): (855, 441, 0),
    (2, 2): (295, 420, 581),
    (2, 1): (125, 91, 0),
    (1, 2): (55, 161, 0),
    (1, 1): (15, 21, 0),
}


@pytest.mark.parametrize(("dice", "expected"), ODDS.items(), ids=str)
def test_the_odds_are_the_classic_ones(
    dice: tuple[int, int], expected: tuple[int, int, int]
) -> None:
    table, meeting = LOSSES[dice[0]][dice[1]]
    counted = Counter(table)
    assert tuple(counted[lost] for lost in range(3)) == expected
    assert sum(expected) == len(table) == 6 ** sum(dice)
    assert meeting == min(dice)


@pytest.mark.parametrize("dice", ODDS, ids=str)
def test_one_throw_of_a_battle_has_these_odds_too(dice: tuple[int, int]) -> None:
    """All 7776 throws are tried on a battle of that many troops; the first exchange is seen."""
    attack, defence = dice
    found: Counter[int] = Counter()
    for throw in range(THROWS):
        # A stream of a single throw leaves the battle after the first exchange.
        left = fought(attack, defence, iter([throw]))
        found[attack - left[0]] += 1
        assert attack - left[0] + defence - left[1] == min(dice)
    for lost, ways in enumerate(ODDS[dice]):
        assert Fraction(found[lost], THROWS) == Fraction(ways, 6 ** sum(dice))


def test_the_table_holds_what_dice_on_a_table_do() -> None:
    """Counted again by another way: sort, pair, compare."""
    wins = Counter[int]()
    for a, b, c, d, e in product(range(1, 7), repeat=5):
        high, low = sorted((a, b, c))[:0:-1]
        top, bottom = max(d, e), min(d, e)
        wins[(high <= top) + (low <= bottom)] += 1
    assert tuple(wins[lost] for lost in range(3)) == ODDS[3, 2]


@given(st.integers(1, 499), st.integers(1, 500), st.integers(1, 2**53 - 1))
def test_a_battle_ends_when_one_side_is_spent(attackers: int, defenders: int, number: int) -> None:
    left, holding = fought(attackers, defenders, throws(SEED, number))
    assert (left == 0) != (holding == 0)
    assert 0 <= left <= attackers
    assert 0 <= holding <= defenders
    assert fought(attackers, defenders, throws(SEED, number)) == (left, holding)


def test_a_tie_is_the_defenders() -> None:
    assert fought(5, 3, repeat(0)) == (0, 3)


def test_the_higher_dice_win() -> None:
    sixes_against_ones = 6**5 - 6**2  # The attacker's dice come first.
    assert fought(5, 3, repeat(sixes_against_ones)) == (5, 0)


def test_a_battle_has_a_stream_of_its_own() -> None:
    assert first(throws(SEED, 1)) == first(throws(SEED, 1))
    assert first(throws(SEED, 1)) != first(throws(SEED, 2))
    assert first(throws(SEED, 1)) != first(throws(SEED[::-1], 1))


def test_throws_cover_all_that_dice_can_show_evenly() -> None:
    counted = Counter(throw % 36 for throw in islice(throws(SEED, 7), 36_000))
    assert len(counted) == 36
    # Chi-square with 35 degrees of freedom stays below 67 in 99.9 % of all seeds; this is one.
    assert sum((count - 1000) ** 2 / 1000 for count in counted.values()) < 67
    assert max(islice(throws(SEED, 7), 36_000)) < THROWS


def first(stream: Iterator[int]) -> list[int]:
    """Return the beginning of a stream."""
    return list(islice(stream, 20))
