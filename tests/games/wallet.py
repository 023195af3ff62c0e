"""A model of the wallet that rooms move money with: what storage owes, in plain Python.

Holds, settlements, releases and bookings are applied as ``persistence.interfaces`` says: bookings
first, then what ends holds, then new holds. What storage would call poisoned fails the test here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gameserver.engine.commands import INSUFFICIENT_FUNDS, NO_WALLET
from gameserver.engine.effects import Booking, Effect, Hold, Release, Settle

GRANTED = 0


@dataclass
class Held:
    """A hold that was ruled on: the code of the ruling, and how it ended, if it has."""

    account: int
    amount_minor: int
    code: int
    ended: str = ""
    payout_minor: int = 0


class Wallet:
    """Balances of players, one escrow, the house; every transfer has two sides."""

    def __init__(self) -> None:
        self.balances: dict[int, int] = {}
        self.holds: dict[str, Held] = {}
        self.booked: dict[str, int] = {}
        self.escrow_minor = 0
        self.house_minor = 0
        self.granted_minor = 0

    def open(self, account: int, balance_minor: int) -> None:
        """Give an account a wallet with play money, unless it has one."""
        if account not in self.balances:
            self.balances[account] = balance_minor
            self.granted_minor += balance_minor

    def commit(self, effects: Iterable[Effect]) -> list[tuple[str, int]]:
        """Apply a tick's effects; return the verdicts as (reference, code), 0 for granted."""
        effects = list(effects)
        for effect in effects:
            if isinstance(effect, Booking):
                self._book(effect)
        for effect in effects:
            if isinstance(effect, Settle):
                self._end(effect.reference, "settled", effect.payout_minor)
            elif isinstance(effect, Release):
                held = self.holds[effect.reference]
                self._end(effect.reference, "released", held.amount_minor)
        verdicts = [
            (effect.reference, self._hold(effect)) for effect in effects if isinstance(effect, Hold)
        ]
        self.check_books()
        return verdicts

    def code(self, reference: str) -> int:
        """Return the ruling on a hold, as asked for later."""
        return self.holds[reference].code

    def open_holds(self) -> list[str]:
        """Return the references of granted holds that have not ended."""
        return [
            reference
            for reference, held in self.holds.items()
            if held.code == GRANTED and not held.ended
        ]

    def check_books(self) -> None:
        """No player is below zero, the escrow covers what is held, and no money was made."""
        assert all(balance >= 0 for balance in self.balances.values())
        assert self.escrow_minor >= 0, "The escrow is overdrawn."
        total = sum(self.balances.values()) + self.escrow_minor + self.house_minor
        assert total == self.granted_minor, "Money was made or lost."
        if not self.open_holds():
            assert self.escrow_minor == 0, "Money is left over in the escrow."

    def _book(self, effect: Booking) -> None:
        assert effect.reference not in self.booked, f"{effect.reference} is booked twice"
        self.booked[effect.reference] = effect.amount_minor
        self.escrow_minor -= effect.amount_minor
        self.house_minor += effect.amount_minor

    def _end(self, reference: str, how: str, amount_minor: int) -> None:
        held = self.holds[reference]
        assert held.code == GRANTED, f"{reference} was not granted and is {how}"
        assert not held.ended, f"{reference} was {held.ended} and is {how} again"
        assert amount_minor >= 0
        held.ended, held.payout_minor = how, amount_minor
        self.escrow_minor -= amount_minor
        self.balances[held.account] += amount_minor

    def _hold(self, effect: Hold) -> int:
        assert effect.reference not in self.holds, f"{effect.reference} is held twice"
        assert effect.amount_minor > 0
        code = GRANTED
        if effect.account not in self.balances:
            code = NO_WALLET.code
        elif self.balances[effect.account] < effect.amount_minor:
            code = INSUFFICIENT_FUNDS.code
        else:
            self.balances[effect.account] -= effect.amount_minor
            self.escrow_minor += effect.amount_minor
        self.holds[effect.reference] = Held(effect.account, effect.amount_minor, code)
        return code
