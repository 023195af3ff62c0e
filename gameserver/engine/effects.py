"""What a tick asks the database to do together with its entry.

Each effect carries a reference that makes it idempotent. Amounts are integers in minor units.
"""

from __future__ import annotations

from typing import NamedTuple


class Hold(NamedTuple):
    """Set ``amount_minor`` of an account aside, if it is there. The answer is a verdict."""

    reference: str
    account: int
    amount_minor: int


class Settle(NamedTuple):
    """End a hold for good and pay ``payout_minor`` to the account that held."""

    reference: str
    payout_minor: int


class Release(NamedTuple):
    """End a hold and put all of it back."""

    reference: str


class Booking(NamedTuple):
    """Move a round's net (stakes less payouts, may be negative) from the room to the house."""

    reference: str
    amount_minor: int


class Result(NamedTuple):
    """What a round came to, for ever."""

    round_number: int
    payload: bytes


class Score(NamedTuple):
    """Points for an account on the game's board."""

    reference: str
    account: int
    points: int


Effect = Hold | Settle | Release | Booking | Result | Score
