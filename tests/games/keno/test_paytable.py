"""The pay tables return what they say, computed with fractions and nothing else."""

import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from gameserver.games.keno import paytable
from gameserver.games.keno.paytable import PAYS, QUARTERS, SPOTS_MAX, STAKE_FLOOR_MINOR
from gameserver.games.keno.settings import PAYOUT_CEILING_MINOR, Settings
from tests.games.keno.table_of_keno import make_play

README = Path(paytable.__file__).parent / "README.md"
every_spots = pytest.mark.parametrize("spots", range(1, SPOTS_MAX + 1))


@every_spots
def test_the_chances_of_all_hits_add_up_to_one(spots: int) -> None:
    assert sum(paytable.probability(spots, hits) for hits in range(spots + 1)) == 1
    mean = sum(hits * paytable.probability(spots, hits) for hits in range(spots + 1))
    assert mean == Fraction(spots, 4)


def test_the_best_of_ten_spots_is_as_unlikely_as_lotteries_say() -> None:
    assert round(1 / paytable.probability(10, 10), 2) == Fraction("8911711.18")


@every_spots
def test_between_90_and_95_percent_return_to_players(spots: int) -> None:
    returned = paytable.return_to_player(spots)
    assert Fraction(90, 100) <= returned <= Fraction(95, 100)
    by_hand = sum(
        paytable.probability(spots, hits) * Fraction(PAYS[spots - 1][hits], QUARTERS)
        for hits in range(spots + 1)
    )
    assert returned == by_hand


@every_spots
def test_rounding_down_keeps_the_return_above_90_percent_for_every_stake(spots: int) -> None:
    # What rounding takes is less than one minor unit a payout, so larger stakes lose less of it.
    for stake_minor in range(STAKE_FLOOR_MINOR, 20 * STAKE_FLOOR_MINOR):
        returned = paytable.return_of_stake(spots, stake_minor, PAYOUT_CEILING_MINOR)
        assert Fraction(90, 100) <= returned <= paytable.return_to_player(spots)


@every_spots
def test_by_default_the_cap_takes_nothing(spots: int) -> None:
    chosen = Settings()
    returned = paytable.return_of_stake(spots, chosen.stake_max_minor, chosen.payout_max_minor)
    assert returned == paytable.return_to_player(spots)


@every_spots
def test_more_hits_never_pay_less_once_they_pay(spots: int) -> None:
    paying = [quarters for quarters in PAYS[spots - 1][1:] if quarters]
    assert all(less < more for less, more in pairwise(paying))
    assert paying[-1] == PAYS[spots - 1][spots]


def test_a_payout_is_rounded_down_and_capped() -> None:
    assert paytable.payout_minor(PAYS[0], 1, 10, 1_000) == 37  # 37.5
    assert paytable.payout_minor(PAYS[4], 2, 11, 1_000) == 5  # 5.5
    assert paytable.payout_minor(PAYS[9], 10, 10, 1_000_000) == 1_000_000
    assert paytable.payout_minor(PAYS[9], 10, 11, 1_000_000) == 1_000_000
    assert paytable.payout_minor(PAYS[9], 1, 10, 1_000) == 0


def test_the_room_shows_the_table_and_its_returns() -> None:
    terms = make_play().state.terms
    assert terms.pays == PAYS
    for spots in range(1, SPOTS_MAX + 1):
        shown = Fraction(terms.returns_ppm[spots - 1], 1_000_000)
        assert 0 <= paytable.return_to_player(spots) - shown < Fraction(1, 1_000_000)


def _cell(spots: int, hits: int) -> str:
    if hits > spots:
        return ""
    pays = Fraction(PAYS[spots - 1][hits], QUARTERS)
    if not pays:
        return "–"
    return f"{pays.numerator:,}" if pays.denominator == 1 else str(pays)


def test_the_readme_has_the_table_as_it_is() -> None:
    rows = re.findall(
        r"^\| (\d+) \| ([^\n]*%) \|$", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [int(spots) for spots, _ in rows] == list(range(1, SPOTS_MAX + 1))
    for spots, cells in ((int(spots), cells.split(" | ")) for spots, cells in rows):
        assert [cell.strip() for cell in cells[:-1]] == [_cell(spots, hits) for hits in range(11)]
        assert cells[-1] == f"{float(paytable.return_to_player(spots)):.4%}"
