"""The memory store's book: who has what, what is held, and every transfer that made it so.

It knows players, rooms and shards as numbers. It refuses nothing once `Ledger.check_endings` has
passed, but rules on each hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from persistence.interfaces import (
    Batch,
    Booking,
    Hold,
    Poisoned,
    Release,
    Ruling,
    Settle,
    Verdict,
    WalletRow,
)

BookAccount = tuple[str, int]


@dataclass(slots=True)
class _Hold:
    hold: Hold
    ruling: Ruling
    ended_by: type[Settle | Release] | None = None


@dataclass(frozen=True, slots=True)
class _Transfer:
    kind: str
    reference: str
    debit: BookAccount
    credit: BookAccount
    amount_minor: int


@dataclass(slots=True)
class Ledger:
    """Accounts by kind (player, escrow, house, issue) and number, and all transfers ever made."""

    balances: dict[BookAccount, int] = field(default_factory=dict)
    transfers: list[_Transfer] = field(default_factory=list)
    holds: dict[str, _Hold] = field(default_factory=dict)
    booked: set[str] = field(default_factory=set)

    def open(self, account: int, grant_minor: int) -> None:
        """Make a player's account with some money issued to it."""
        self.balances[("player", account)] = 0
        self._move("grant", str(account), ("issue", 0), ("player", account), grant_minor)

    def history(self, account: BookAccount, limit: int) -> tuple[WalletRow, ...]:
        """Return an account's newest transfers, newest first."""
        rows = (
            WalletRow(
                number,
                transfer.kind,
                transfer.reference,
                transfer.amount_minor if transfer.credit == account else -transfer.amount_minor,
            )
            for number, transfer in enumerate(self.transfers, start=1)
            if account in (transfer.debit, transfer.credit)
        )
        return tuple(rows)[::-1][:limit]

    def check_endings(self, batch: Batch) -> None:
        """Raise Poisoned if a settlement or release ends no hold that it may end."""
        endings: tuple[Settle | Release, ...] = (*batch.settles, *batch.releases)
        for ending in endings:
            held = self.holds.get(ending.reference)
            if held is None or held.ruling != Ruling.GRANTED:
                raise Poisoned(f"{ending.reference} holds nothing")
            if held.hold.room_id != ending.room_id:
                raise Poisoned(f"{ending.reference} is not a hold of room {ending.room_id}")
            if held.ended_by not in (None, type(ending)):
                raise Poisoned(f"{ending.reference} has ended in another way")

    def apply(self, batch: Batch) -> tuple[tuple[Verdict, ...], tuple[tuple[int, int], ...]]:
        """Move the money of the batch; return the verdicts, and the balances that it moved."""
        first = len(self.transfers)
        for booking in batch.bookings:
            self._book(booking)
        for settle in batch.settles:
            self._end(settle, settle.payout_minor)
        for release in batch.releases:
            self._end(release, self.holds[release.reference].hold.amount_minor)
        verdicts = tuple(Verdict(hold.reference, self._rule(hold)) for hold in batch.holds)
        moved = {
            number
            for transfer in self.transfers[first:]
            for kind, number in (transfer.debit, transfer.credit)
            if kind == "player"
        }
        return verdicts, tuple((n, self.balances[("player", n)]) for n in sorted(moved))

    def _book(self, booking: Booking) -> None:
        if booking.amount_minor != 0 and booking.reference not in self.booked:
            self.booked.add(booking.reference)
            escrow, house = ("escrow", booking.room_id), ("house", booking.shard)
            debit, credit = (escrow, house) if booking.amount_minor > 0 else (house, escrow)
            self._move("book", booking.reference, debit, credit, abs(booking.amount_minor))

    def _end(self, ending: Settle | Release, amount_minor: int) -> None:
        held = self.holds[ending.reference]
        if held.ended_by is None:
            held.ended_by = type(ending)
            kind = "settle" if isinstance(ending, Settle) else "release"
            debit, credit = ("escrow", ending.room_id), ("player", held.hold.account)
            self._move(kind, ending.reference, debit, credit, amount_minor)

    def _rule(self, hold: Hold) -> Ruling:
        known = self.holds.get(hold.reference)
        if known is not None:
            return known.ruling
        player, escrow = ("player", hold.account), ("escrow", hold.room_id)
        if player not in self.balances:
            ruling = Ruling.NO_ACCOUNT
        elif self.balances[player] < hold.amount_minor:
            ruling = Ruling.INSUFFICIENT_FUNDS
        else:
            ruling = Ruling.GRANTED
            self._move("hold", hold.reference, player, escrow, hold.amount_minor)
        self.holds[hold.reference] = _Hold(hold, ruling)
        return ruling

    def _move(
        self, kind: str, reference: str, debit: BookAccount, credit: BookAccount, amount_minor: int
    ) -> None:
        if amount_minor > 0:
            self.balances[debit] = self.balances.get(debit, 0) - amount_minor
            self.balances[credit] = self.balances.get(credit, 0) + amount_minor
            self.transfers.append(_Transfer(kind, reference, debit, credit, amount_minor))
