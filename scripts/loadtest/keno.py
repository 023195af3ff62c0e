"""Bots that play keno: bets and cancellations, good and bad, and books that are kept.

A bot keeps its own book of what its bets cost and paid, computes payouts again from the numbers
drawn, and each draw again from its seed, as the game's README tells anybody to do.
"""

import hmac
import struct
from collections.abc import Mapping
from hashlib import sha256
from random import Random
from typing import Any

import msgpack

from scripts.loadtest.behaviour import GameBots, Wanted
from scripts.loadtest.sight import Move, Node, Sight

BALLS = 80
DRAWN = 20
SPOTS_MAX = 10
HUGE_MINOR = 1_500_000  # More than a guest's play money: the wallet refuses, the bet is undone.
ROUND_SECONDS = (2, 3, 4)
VOID_HITS = -1

Row = tuple[int, int, int, int, tuple[int, ...]]


class Keno:
    """One player."""

    def __init__(self, rng: Random, wanted: Wanted) -> None:
        self._rng = rng
        self._wanted = wanted
        # Of each round the bets that were settled: round, stake, hits, payout, spots.
        self._book: dict[int, list[Row]] = {}
        self._round_seen = -1
        self._is_sure = True
        self._first_round = -1

    def choose(self, sight: Sight) -> Move | None:
        """Bet, mostly; take a bet back now and then; try what is not allowed."""
        rng = self._rng
        if sight.game.enum("phase") != "OPEN":
            return self._bet(sight)  # Refused: betting is closed.
        bets = sight.game.rows("bets")
        standing = [key for key, bet in bets.items() if bet.get("stands")]
        chance = rng.random()
        if standing and (chance < 0.15 or self._wanted("Cancel")):
            return Move("Cancel", {"reference": rng.choice(standing)})
        if chance < 0.27:
            return self._bad_move(sight, list(bets))
        return self._bet(sight)

    def _bet(self, sight: Sight, **changed: Any) -> Move:
        rng = self._rng
        fields = {
            "spots": rng.sample(range(1, BALLS + 1), rng.randint(1, SPOTS_MAX)),
            "stake_minor": rng.randint(1, 5) * 100,
            "round_number": rng.choice((0, sight.game.get("round_number", 0))),
        }
        return Move("Bet", {**fields, **changed})

    def _bad_move(self, sight: Sight, references: list[Any]) -> Move:
        rng = self._rng
        moves = (
            self._bet(sight, spots=[7, 7, 8]),
            self._bet(sight, stake_minor=1),
            self._bet(sight, stake_minor=9_999_999),
            self._bet(sight, stake_minor=HUGE_MINOR, round_number=0),
            self._bet(sight, round_number=sight.game.get("round_number", 0) + 1),
            Move("Cancel", {"reference": rng.choice([*references, "nobody's"])}),
            Move("Bet", body=msgpack.packb([1, [BALLS + 1], 100, 0])),
            Move("Bet", body=msgpack.packb([99])),
        )
        return rng.choice(moves)

    def look(self, sight: Sight) -> list[str]:
        """Write settled bets into the book, and check them and the newest draw."""
        number = sight.game.get("round_number", 0)
        if self._round_seen < 0:
            self._first_round = number
        elif number > self._round_seen + 1:
            self._is_sure = False  # More bets may have passed than a player is shown.
        is_new = number != self._round_seen
        self._round_seen = number
        player = sight.game.row("players", sight.seat)
        last = () if player is None else player.get("last", ())
        found = []
        for round_number in {row[0] for row in last}:
            rows = [row for row in last if row[0] == round_number]
            known = self._book.get(round_number, [])
            if len(rows) > len(known):
                self._book[round_number] = rows
                found += [text for row in rows if (text := _fault_of(sight, row))]
        if is_new:
            found += _draw_faults(sight, number - 1)
        return found

    def is_over(self, sight: Sight) -> bool:
        """Tell whether the room was closed: keno itself never ends."""
        return not sight.is_open

    def rounds(self, sight: Sight) -> int:
        """Count the rounds that were drawn since this bot came."""
        if self._first_round < 0:
            return 0
        drawn = sight.game.enum("phase") not in ("OPEN", "LOCKED", "SETTLING", "VOIDING")
        number: int = sight.game.get("round_number", 0)
        return number - max(self._first_round - 1, 0) - (not drawn)

    def lost_minor(self, sight: Sight) -> int | None:
        """Add up what settled bets cost and what lies in bets that are out."""
        if not self._is_sure:
            return None
        settled = sum(row[1] - row[3] for rows in self._book.values() for row in rows)
        out = sum(bet.get("stake_minor") for bet in sight.game.rows("bets").values())
        return settled + int(out)


def _fault_of(sight: Sight, row: Row) -> str | None:
    """Say what is wrong with a settled bet, if anything is."""
    number, stake_minor, hits, paid_minor, spots = row
    result = sight.game.row("results", number)
    terms = sight.game.part("terms")
    if result is None or terms is None:
        return None
    if hits == VOID_HITS:
        return None if paid_minor == stake_minor else f"round {number}: void, but {row} was paid"
    should_hit = len(set(result.get("numbers")) & set(spots))
    quarters = terms.get("pays")[len(spots) - 1][should_hit]
    should_pay = min(quarters * stake_minor // 4, terms.get("payout_max_minor"))
    if (hits, paid_minor) != (should_hit, should_pay):
        return f"round {number}: {row} should have {should_hit} hits and pay {should_pay}"
    return None


def _draw_faults(sight: Sight, number: int) -> list[str]:
    result = sight.game.row("results", number)
    room_id = sight.room_id
    if result is None or not room_id:
        return []
    faults = []
    if commitment(room_id, number, result.get("seed")) != result.get("commitment"):
        faults.append(f"round {number}: the seed is not what was committed to")
    if not result.get("void") and draw(room_id, number, result.get("seed")) != _numbers(result):
        faults.append(f"round {number}: the seed gives other numbers")
    return faults


def _numbers(result: Node) -> list[int]:
    return list(result.get("numbers"))


def commitment(room_id: int, round_number: int, seed: bytes) -> bytes:
    """Return what is published before a round."""
    return sha256(b"gs keno 1" + struct.pack(">QQ", room_id, round_number) + seed).digest()


def draw(room_id: int, round_number: int, seed: bytes) -> list[int]:
    """Return the numbers that a seed gives."""
    label = b"gs keno 1" + struct.pack(">QQ", room_id, round_number)
    words: list[int] = []
    for counter in range(10):
        block = hmac.digest(seed, label + struct.pack(">Q", counter), "sha256")
        words += struct.unpack(">8I", block)
    stream = iter(words)
    balls = list(range(1, BALLS + 1))
    for place in range(DRAWN):
        left = BALLS - place
        word = next(stream)
        while word >= 2**32 - 2**32 % left:
            word = next(stream)
        other = place + word % left
        balls[place], balls[other] = balls[other], balls[place]
    return balls[:DRAWN]


def _settings(rng: Random, _number: int) -> Mapping[str, Any]:
    return {
        "round_seconds": rng.choice(ROUND_SECONDS),
        "stake_max_minor": 2_000_000,
        "stake_total_max_minor": 20_000_000,
    }


BOTS = GameBots(
    game="keno",
    make=Keno,
    settings=_settings,
    players_for_all=1,
    long_enough_s=8.0,
    uses_money=True,
)
