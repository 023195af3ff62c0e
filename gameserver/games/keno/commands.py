"""What a keno player may ask: to bet, and to take a bet back before the lock."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from gameserver.engine.commands import Command, Reason
from gameserver.engine.room import Room
from gameserver.games.keno import bets
from gameserver.games.keno.paytable import BALLS, SPOTS_MAX
from gameserver.games.keno.settings import ROUND_BETS_MAX, STAKE_CEILING_MINOR
from gameserver.games.keno.state import Phase

BETTING_CLOSED = Reason(100, "BETTING_CLOSED")
ROUND_OVER = Reason(101, "ROUND_OVER", "round_number")
SPOTS_REPEATED = Reason(102, "SPOTS_REPEATED", "spots")
STAKE_TOO_LOW = Reason(103, "STAKE_TOO_LOW", "stake_minor")
STAKE_TOO_HIGH = Reason(104, "STAKE_TOO_HIGH", "stake_minor")
TOO_MANY_BETS = Reason(105, "TOO_MANY_BETS")
STAKE_TOTAL_TOO_HIGH = Reason(106, "STAKE_TOTAL_TOO_HIGH", "stake_minor")
ROUND_FULL = Reason(107, "ROUND_FULL")
NO_SUCH_BET = Reason(108, "NO_SUCH_BET", "reference")
BET_PENDING = Reason(109, "BET_PENDING", "reference")

REASONS = (
    BETTING_CLOSED,
    ROUND_OVER,
    SPOTS_REPEATED,
    STAKE_TOO_LOW,
    STAKE_TOO_HIGH,
    TOO_MANY_BETS,
    STAKE_TOTAL_TOO_HIGH,
    ROUND_FULL,
    NO_SUCH_BET,
    BET_PENDING,
)

ANY_ROUND = 0

Spot = Annotated[int, msgspec.Meta(ge=1, le=BALLS)]


class Bet(Command, frozen=True, tag=1):
    """Stake money on 1 to 10 different numbers.

    ``round_number`` is the round that the player means, so that a bet sent again after an outage
    cannot land in a later one; 0 means whichever is open.
    """

    spots: Annotated[tuple[Spot, ...], msgspec.Meta(min_length=1, max_length=SPOTS_MAX)]
    stake_minor: Annotated[int, msgspec.Meta(ge=1, le=STAKE_CEILING_MINOR)]
    round_number: Annotated[int, msgspec.Meta(ge=ANY_ROUND, le=2**53 - 1)] = ANY_ROUND

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check the time, then the bet itself, then the limits of the player and the round."""
        state, terms = room.state, room.state.terms
        if state.phase is not Phase.OPEN:
            return BETTING_CLOSED
        if self.round_number not in (ANY_ROUND, state.round_number):
            return ROUND_OVER
        if len(set(self.spots)) < len(self.spots):
            return SPOTS_REPEATED
        if self.stake_minor < terms.stake_min_minor:
            return STAKE_TOO_LOW
        if self.stake_minor > terms.stake_max_minor:
            return STAKE_TOO_HIGH
        if len(state.players[seat].references) >= terms.bets_per_round_max:
            return TOO_MANY_BETS
        if bets.stakes_minor(state, seat) + self.stake_minor > terms.stake_total_max_minor:
            return STAKE_TOTAL_TOO_HIGH
        if len(state.bets) + len(state.strays) >= ROUND_BETS_MAX:
            return ROUND_FULL
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Put the bet down; it is pending until the wallet has ruled."""
        bets.place(room, seat, tuple(sorted(self.spots)), self.stake_minor)

    def granted(self, room: Room[Any], seat: int, reference: str) -> None:
        """Let the bet stand."""
        bets.grant(room, reference)

    def rollback(self, room: Room[Any], seat: int, reference: str) -> None:
        """Take the bet back, wherever it lies by now."""
        bets.take_back(room, reference)


class Cancel(Command, frozen=True, tag=2):
    """Take one's own standing bet back before the lock."""

    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check the time, then that the bet is the player's own, then that it stands."""
        state = room.state
        if state.phase is not Phase.OPEN:
            return BETTING_CLOSED
        bet = state.bets.get(self.reference)
        if bet is None or bet.seat != seat:
            return NO_SUCH_BET
        if not bet.stands:
            return BET_PENDING
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Remove the bet and put its stake back."""
        bets.cancel(room, self.reference)
