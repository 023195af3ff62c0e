"""Proves the books: where all the money is, and that each hold ended as its transfers say.

It goes by the transfers: balances and holds are only what they come to. Both are read side by
side in the order of their references, so that a large book needs little memory: one number for
each account. A game books a round no later than it ends the last of the round's holds; so the
escrow of a room in which no hold stands is empty.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gameserver.services.audit.report import Report
from persistence.auditing import HoldRow, Records, TransferRow
from persistence.interfaces import RoomStatus, Ruling

Account = tuple[str, int]

# Which kinds of account a transfer of a kind may move money from and to.
SIDES: dict[str, tuple[tuple[str, str], ...]] = {
    "grant": (("issue", "player"),),
    "hold": (("player", "escrow"),),
    "settle": (("escrow", "player"),),
    "release": (("escrow", "player"),),
    "book": (("escrow", "house"), ("house", "escrow")),
}
OF_HOLDS = ("hold", "settle", "release")


@dataclass(slots=True)
class _Books:
    """What transfers and holds come to."""

    totals: dict[Account, int] = field(default_factory=dict)
    standing: dict[int, int] = field(default_factory=dict)  # Holds that stand, by room.


async def check_books(records: Records) -> Report:
    """Return what is wrong with the money."""
    report = Report()
    books = _Books()
    await _check_movements(records, report, books)
    await _check_balances(records, report, books)
    await _check_rooms(records, report, books)
    return report


async def _check_movements(records: Records, report: Report, books: _Books) -> None:
    """Check each transfer, and each hold against the transfers with its reference."""
    holds = records.holds()
    hold = await anext(holds, None)
    async for group in _by_reference(records.transfers()):
        reference = group[0].reference
        for transfer in group:
            _check_transfer(transfer, report, books)
        while hold is not None and hold.reference < reference:
            _check_hold(hold, [], report, books)
            hold = await anext(holds, None)
        mine = [transfer for transfer in group if transfer.kind in OF_HOLDS]
        if hold is not None and hold.reference == reference:
            _check_hold(hold, mine, report, books)
            hold = await anext(holds, None)
        elif mine:
            report.find(f"transfer {mine[0].transfer_id}: there is no hold {reference!r}")
    while hold is not None:
        _check_hold(hold, [], report, books)
        hold = await anext(holds, None)


async def _by_reference(rows: AsyncIterator[TransferRow]) -> AsyncIterator[list[TransferRow]]:
    group: list[TransferRow] = []
    async for row in rows:
        if group and row.reference != group[0].reference:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _check_transfer(row: TransferRow, report: Report, books: _Books) -> None:
    report.count("transfers")
    totals = books.totals
    totals[row.debit] = totals.get(row.debit, 0) - row.amount_minor
    totals[row.credit] = totals.get(row.credit, 0) + row.amount_minor
    sides = (row.debit[0], row.credit[0])
    if row.amount_minor <= 0 or sides not in SIDES.get(row.kind, ()):
        report.find(
            f"transfer {row.transfer_id}: a {row.kind} of {row.amount_minor}"
            f" cannot move money from {_named(row.debit)} to {_named(row.credit)}"
        )


def _check_hold(hold: HoldRow, transfers: list[TransferRow], report: Report, books: _Books) -> None:
    """Expect exactly the transfers that follow from the hold's state."""
    report.count("holds")
    if hold.state == "held":
        books.standing[hold.room_id] = books.standing.get(hold.room_id, 0) + 1
    player, escrow = ("player", hold.account), ("escrow", hold.room_id)
    expected: dict[str, tuple[Account, Account, int]] = {}
    if hold.state != "refused":
        expected["hold"] = (player, escrow, hold.amount_minor)
    if hold.state == "released":
        expected["release"] = (escrow, player, hold.amount_minor)
    if hold.state == "settled" and hold.payout_minor:
        expected["settle"] = (escrow, player, hold.payout_minor)
    found = {one.kind: (one.debit, one.credit, one.amount_minor) for one in transfers}
    named = f"hold {hold.reference!r} of account {hold.account}"
    if (hold.state == "refused") is (hold.ruling == Ruling.GRANTED):
        report.find(f"{named} is {hold.state}, but its ruling is {hold.ruling}", room=hold.room_id)
    for kind in sorted(expected.keys() | found.keys()):
        if kind not in found:
            what = f"is {hold.state}, but its {kind} of {expected[kind][2]} was never transferred"
        elif kind not in expected:
            what = f"is {hold.state}, but there is a {kind} of {found[kind][2]}"
        elif expected[kind] != found[kind]:
            what = f"is {hold.state}: its {kind} should be {_moved(expected[kind])}"
            what += f", but is {_moved(found[kind])}"
        else:
            continue
        report.find(f"{named} {what}", room=hold.room_id)


async def _check_balances(records: Records, report: Report, books: _Books) -> None:
    """Check each account against its transfers; afterwards ``totals`` are the balances."""
    totals, books.totals = books.totals, {}
    all_in_all = 0
    async for row in records.accounts():
        report.count("accounts")
        account = (row.kind, row.number)
        books.totals[account] = row.balance_minor
        all_in_all += row.balance_minor
        total = totals.pop(account, 0)
        if row.balance_minor != total:
            report.find(
                f"{_named(account)} has {row.balance_minor}, but its transfers come to {total}"
            )
        if row.kind == "player" and row.balance_minor < 0:
            report.find(f"{_named(account)} has less than nothing: {row.balance_minor}")
    for account, total in sorted(totals.items()):
        if total:
            report.find(f"{_named(account)} is missing: its transfers come to {total}")
    if all_in_all:
        report.find(f"all balances together come to {all_in_all} and not to nothing")


async def _check_rooms(records: Records, report: Report, books: _Books) -> None:
    """Check that no money lies in a room without a reason."""
    for (kind, number), balance in sorted(books.totals.items()):
        if kind == "escrow" and balance and not books.standing.get(number):
            report.find(f"no hold stands, but the room's escrow has {balance}", room=number)
    async for room in records.rooms():
        report.count("rooms")
        standing = books.standing.get(room.room_id, 0)
        if room.status is RoomStatus.ENDED and standing:
            report.find(f"the room has ended, but {standing} of its holds stand", room=room.room_id)


def _moved(movement: tuple[Account, Account, int]) -> str:
    debit, credit, amount_minor = movement
    return f"{amount_minor} from {_named(debit)} to {_named(credit)}"


def _named(account: Account) -> str:
    names = {"player": "account", "escrow": "the escrow of room", "house": "the house of shard"}
    return f"{names.get(account[0], account[0])} {account[1]}"
