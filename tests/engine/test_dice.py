"""Tests of the dice: every number exactly as likely as any other, and the position recorded."""

from __future__ import annotations

import hmac
import struct
from collections import Counter

import pytest

from gameserver.engine import dice
from gameserver.engine.dice import WORD_LIMIT, Dice, below, block_at, drawn, numbers, word_at
from tests.engine.playing import seated

SEED = bytes(range(32))


def test_the_stream_is_hmac_sha256_in_counter_mode() -> None:
    block = hmac.new(SEED, b"label" + (3).to_bytes(8, "big"), "sha256").digest()
    assert block_at(SEED, b"label", 3) == struct.unpack(">8I", block)
    assert word_at(SEED, b"label", 3 * 8 + 5) == int.from_bytes(block[20:24], "big")


def test_the_stream_never_changes() -> None:
    """What was once drawn must come out again, or no journal could be replayed."""
    below_six = numbers(SEED, b"room")
    assert [below_six(6) for _ in range(12)] == KNOWN
    assert drawn(SEED, b"keno", 5, 80) == KNOWN_DRAW


KNOWN = [2, 2, 3, 1, 1, 1, 3, 1, 2, 3, 1, 1]
KNOWN_DRAW = (42, 65, 72, 9, 8)


@pytest.mark.parametrize("n", [0, -1, WORD_LIMIT + 1])
def test_a_die_has_1_to_2_to_the_32_sides(n: int) -> None:
    with pytest.raises(AssertionError, match="sides"):
        below(SEED, b"", 0, n)
    with pytest.raises(AssertionError, match="sides"):
        numbers(SEED, b"")(n)


def _words(monkeypatch: pytest.MonkeyPatch, *words: int) -> None:
    monkeypatch.setattr(dice, "word_at", lambda seed, label, position: words[position])


def test_words_that_would_make_some_remainders_likelier_are_thrown_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n = 2**31 + 1  # Of 2**32 words only the first n give each remainder once.
    _words(monkeypatch, 2**32 - 1, n, n - 1, 0)
    assert below(SEED, b"", 0, n) == (n - 1, 3)
    assert below(SEED, b"", 3, n) == (0, 4)


@pytest.mark.parametrize("n", [1, 2, 2**16, 2**31, 2**32])
def test_powers_of_two_use_every_word(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    _words(monkeypatch, 2**32 - 1)
    assert below(SEED, b"", 0, n) == (n - 1, 1)


@pytest.mark.parametrize("n", [2**32 - 1, 2**32 - 5, 3 * 2**30])
def test_the_last_word_that_counts_and_the_first_that_does_not(
    monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    kept = 2**32 - 2**32 % n
    _words(monkeypatch, kept, kept - 1)
    assert below(SEED, b"", 0, n) == (n - 1, 2)


@pytest.mark.parametrize("n", [2, 6, 7, 80])
def test_all_numbers_are_about_as_frequent(n: int) -> None:
    below_n, rolls = numbers(SEED, b"%d" % n), 400 * n
    counts = Counter(below_n(n) for _ in range(rolls))
    assert sorted(counts) == list(range(n))
    chi_square = sum((count - 400) ** 2 / 400 for count in counts.values())
    assert chi_square < (n - 1) + 5 * (2 * (n - 1)) ** 0.5


def test_other_seeds_and_other_labels_give_other_streams() -> None:
    streams = [numbers(SEED, b"a"), numbers(SEED, b"b"), numbers(bytes(32), b"a")]
    assert len({tuple(below_n(2**32) for _ in range(4)) for below_n in streams}) == 3


def test_a_draw_has_different_numbers_of_the_range() -> None:
    for count in (0, 1, 20, 80):
        balls = drawn(SEED, b"draw", count, 80)
        assert len(set(balls)) == count
        assert all(1 <= ball <= 80 for ball in balls)
    assert sorted(drawn(SEED, b"draw", 80, 80)) == list(range(1, 81))


def test_every_order_of_a_shuffle_is_about_as_frequent() -> None:
    own = Dice(seed=SEED)
    orders = Counter(own.shuffled((1, 2, 3)) for _ in range(3_000))
    assert len(orders) == 6
    assert all(400 < count < 600 for count in orders.values())


def test_the_position_is_part_of_the_state() -> None:
    play = seated()
    dice_before = play.room.dice.position
    first = [play.room.dice.roll(6) for _ in range(5)]
    assert play.room.dice.position >= dice_before + 5
    play.room.undo_to((0, 0))
    assert play.room.dice.position == dice_before
    assert [play.room.dice.roll(6) for _ in range(5)] == first
    assert all(1 <= roll <= 6 for roll in first)
