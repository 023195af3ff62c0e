"""Compares the money that rooms asked for with the money that is kept.

The books prove themselves, but somebody who changes a transfer, its hold and both balances leaves
them sound. What a replay asks for again does not change with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gameserver.engine.effects import Booking, Effect, Hold, Release, Settle
from gameserver.services.audit.report import Report
from persistence.auditing import HoldRow, Records, TransferRow


@dataclass(slots=True)
class _Owed:
    """What a room asked for under one reference. ``payout_minor`` of a release is None."""

    room_id: int
    account: int | None = None
    amount_minor: int | None = None
    ended: str = ""
    payout_minor: int | None = None


class Money:
    """All holds and bookings of the rooms that are replayed."""

    def __init__(self, report: Report) -> None:
        self.whole_rooms: set[int] = set()  # Those of which no entry was left out.
        self._report = report
        self._holds: dict[str, _Owed] = {}
        self._bookings: dict[str, tuple[int, int]] = {}

    def owe(self, room_id: int, effects: Iterable[Effect]) -> None:
        """Note what a tick asked for; several replays of it ask for the same."""
        for effect in effects:
            if isinstance(effect, Hold):
                owed = self._holds.setdefault(effect.reference, _Owed(room_id))
                owed.account, owed.amount_minor = effect.account, effect.amount_minor
            elif isinstance(effect, Settle):
                owed = self._holds.setdefault(effect.reference, _Owed(room_id))
                owed.ended, owed.payout_minor = "settled", effect.payout_minor
            elif isinstance(effect, Release):
                self._holds.setdefault(effect.reference, _Owed(room_id)).ended = "released"
            elif isinstance(effect, Booking) and effect.amount_minor:
                self._bookings[effect.reference] = (room_id, effect.amount_minor)

    async def compare(self, records: Records) -> None:
        """Find holds and bookings that are kept otherwise than they were asked for."""
        async for hold in records.holds():
            owed = self._holds.pop(hold.reference, None)
            if owed is not None:
                self._compare_hold(hold, owed)
            elif hold.room_id in self.whole_rooms:
                self._find(hold.room_id, f"nobody asked for the hold {hold.reference!r}")
        async for transfer in records.transfers():
            if transfer.kind == "book":
                self._compare_booking(transfer)
        for reference, owed in sorted(self._holds.items()):
            self._find(owed.room_id, f"the hold {reference!r} that was asked for is missing")
        for reference, (room_id, _) in sorted(self._bookings.items()):
            self._find(room_id, f"the booking {reference!r} that was asked for is missing")

    def _compare_hold(self, hold: HoldRow, owed: _Owed) -> None:
        self._report.count("holds_compared")
        asked = (owed.account, owed.amount_minor)
        if owed.account is not None and asked != (hold.account, hold.amount_minor):
            what = f"the hold {hold.reference!r} was asked for {asked[1]} of account {asked[0]}"
            self._find(owed.room_id, f"{what}, and is kept as another")
        ended = hold.state if hold.state in ("settled", "released") else ""
        kept, meant = (ended, hold.payout_minor), (owed.ended, owed.payout_minor)
        if kept != meant:
            what = f"the hold {hold.reference!r} should have been {_told(meant)}"
            self._find(owed.room_id, f"{what}, and was {_told(kept)}")

    def _compare_booking(self, row: TransferRow) -> None:
        kept_minor = row.amount_minor if row.debit[0] == "escrow" else -row.amount_minor
        room_id = row.debit[1] if row.debit[0] == "escrow" else row.credit[1]
        _, asked_minor = self._bookings.pop(row.reference, (room_id, None))
        if asked_minor is None and room_id in self.whole_rooms:
            self._find(room_id, f"nobody asked for the booking {row.reference!r}")
        elif asked_minor is not None and asked_minor != kept_minor:
            what = f"the booking {row.reference!r} was asked for {asked_minor}"
            self._find(room_id, f"{what}, and is kept as {kept_minor}")

    def _find(self, room_id: int, what: str) -> None:
        self._report.find(what, room=room_id)


def _told(ending: tuple[str, int | None]) -> str:
    state, payout_minor = ending
    if not state:
        return "left standing"
    return state if payout_minor is None else f"{state} with {payout_minor}"
