"""What the server asks of its storage, and nothing of how it is kept.

Storage knows shards, rooms, entries, snapshots and money as numbers and bytes;
it interprets none of the bytes. `persistence.memory` and `persistence.postgres`
both keep this contract, and one suite of tests holds them to it.

The errors are drawn in `persistence.failures`; who owns what is told in `persistence.ownership`.

Whole numbers are from 0 to ``INTEGER_MAX``, but that points and a booking's amount may be negative
and a batch's id may have 63 bits. Texts have at most ``TEXT_CHARS_MAX`` characters and no NUL;
a note may be of any length. Whatever breaks these bounds is Poisoned.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from persistence.failures import Declined as Declined
from persistence.failures import Poisoned as Poisoned
from persistence.failures import SchemaMismatch as SchemaMismatch
from persistence.failures import StorageBusy as StorageBusy
from persistence.failures import StorageError as StorageError
from persistence.failures import StorageUnavailable as StorageUnavailable
from persistence.failures import TooManyRooms as TooManyRooms
from persistence.ownership import HEAD_BYTES as HEAD_BYTES
from persistence.ownership import NO_HEAD as NO_HEAD
from persistence.ownership import OwnershipStore, Row
from persistence.ownership import ShardMark as ShardMark
from persistence.ownership import ShardState as ShardState

TRANSFERS_PER_BATCH_MAX = 1_000
ROOM_CODE_CHARS = 6
CREATE_KEY_BYTES_MAX = 64
TEXT_CHARS_MAX = 200
INTEGER_MAX = 2**53 - 1


class EntryRow(Row, frozen=True):
    """One room's tick: the ``number``-th entry of the room, counted from 1."""

    shard: int
    room_id: int
    number: int
    tick: int
    payload: bytes


class Hold(Row, frozen=True):
    """Move ``amount_minor`` (> 0) from a player's account into the room's escrow, if it is there.

    A reference that was ruled on before gets that ruling again, and no money moves.
    """

    shard: int
    room_id: int
    reference: str
    account: int
    amount_minor: int


class Settle(Row, frozen=True):
    """End a hold: pay ``payout_minor`` (>= 0) from the room's escrow to the account that held.

    To settle a hold of another room, or one that was not granted or was released, is poisoned.
    """

    shard: int
    room_id: int
    reference: str
    payout_minor: int


class Release(Row, frozen=True):
    """End a hold: put the whole held amount back.

    To release a hold of another room, or one that was not granted or was settled, is poisoned.
    """

    shard: int
    room_id: int
    reference: str


class Booking(Row, frozen=True):
    """Move a round's net from the room's escrow to the shard's house account.

    A negative ``amount_minor`` moves money from the house into the escrow, and zero moves none.
    Never refused; a reference that was booked before is ignored.
    """

    shard: int
    room_id: int
    reference: str
    amount_minor: int


class ResultRow(Row, frozen=True):
    """What a round came to. Written once; a second write under the same number is ignored."""

    shard: int
    room_id: int
    round_number: int
    tick: int
    payload: bytes


class ScoreRow(Row, frozen=True):
    """Points of an account in a game, added up; a reference counts once for an account."""

    shard: int
    room_id: int
    reference: str
    game: str
    account: int
    points: int


class RoomEnd(Row, frozen=True):
    """The room has ended by its rules; its code is free again. Unknown rooms are ignored."""

    shard: int
    room_id: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one commit writes. Rows of a shard count only if its mark holds.

    ``batch_id`` is never used twice, by any node: draw it at random. Every row's shard has a mark.

    A batch may hold up to ``TRANSFERS_PER_BATCH_MAX`` of holds, settlements, releases and
    bookings together. Within a batch bookings are applied first, then releases and settlements,
    then holds in the order given; a hold that does not fit does not hinder a smaller one after
    it. A settlement or release of a hold that was already ended by the same kind is ignored, even
    if it names another payout; ``number`` of entries grows by one per room.
    """

    batch_id: int
    node: str
    marks: tuple[ShardMark, ...]
    entries: tuple[EntryRow, ...] = ()
    holds: tuple[Hold, ...] = ()
    settles: tuple[Settle, ...] = ()
    releases: tuple[Release, ...] = ()
    bookings: tuple[Booking, ...] = ()
    results: tuple[ResultRow, ...] = ()
    scores: tuple[ScoreRow, ...] = ()
    ends: tuple[RoomEnd, ...] = ()

    @property
    def has_effects(self) -> bool:
        """Tell whether it writes anything but marks and entries."""
        return bool(
            self.holds
            or self.settles
            or self.releases
            or self.bookings
            or self.results
            or self.scores
            or self.ends
        )


class Ruling(IntEnum):
    """The database's answer to a hold."""

    GRANTED = 1
    INSUFFICIENT_FUNDS = 2
    NO_ACCOUNT = 3
    ACCOUNT_BUSY = 4


class Verdict(Row, frozen=True):
    """The ruling on the hold with this reference. It never changes once given."""

    reference: str
    ruling: Ruling


class CommitAnswer(Row, frozen=True):
    """What became of a batch; a repeat of the batch within the hour gets the same answer.

    ``fenced`` shards have a newer owner (a higher epoch), ``regressed`` ones are behind what this
    node has seen committed (a lower epoch, or another head); nothing of either was written.
    ``verdicts`` answer the holds of all other shards in the order given. ``balances`` are those of
    player accounts whose money the batch moved, after it, by account.
    """

    fenced: frozenset[int] = frozenset()
    regressed: frozenset[int] = frozenset()
    verdicts: tuple[Verdict, ...] = ()
    balances: tuple[tuple[int, int], ...] = ()


_LINK = struct.Struct(">QQQI")


def chained(head: bytes, rows: Iterable[EntryRow]) -> bytes:
    """Return the journal head after ``rows``: SHA-256 over the old head and each row in order."""
    parts = [head]
    for row in rows:
        parts.append(_LINK.pack(row.room_id, row.number, row.tick, len(row.payload)))
        parts.append(row.payload)
    return hashlib.sha256(b"".join(parts)).digest()


class RoomStatus(IntEnum):
    """Where a room stands, as storage knows it."""

    OPEN = 1
    ENDED = 2
    SET_ASIDE = 3


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room's row. ``listed`` rooms may be found without their code.

    ``create_key`` is the creator's own (1 to 64 bytes): the same creator and key find the same
    room. ``settings`` is the game's own encoding.
    """

    room_id: int
    shard: int
    code: str
    game: str
    rules_version: int
    creator: int
    create_key: bytes
    listed: bool
    settings: bytes
    status: RoomStatus = RoomStatus.OPEN
    note: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A room's whole state after its ``number``-th entry.

    ``state_hash`` is over the state's plain bytes; ``payload`` may be packed or sealed.
    """

    room_id: int
    number: int
    tick: int
    rules_version: int
    state_hash: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class PersonRow:
    """An account and the name that goes with it."""

    account: int
    name: str


@dataclass(frozen=True, slots=True)
class WalletRow:
    """One line of a wallet's history, as its owner sees it: negative where money left.

    ``kind`` is grant, hold, settle or release. The newest have the highest ``transfer_id``.
    """

    transfer_id: int
    kind: str
    reference: str
    amount_minor: int


class Store(OwnershipStore, Protocol):
    """All that the server keeps.

    Every method may raise StorageUnavailable, those that write also StorageBusy and Poisoned. Only
    one commit of a store runs at a time; the others wait for it.
    """

    async def start(self) -> None:
        """Connect and check; raise SchemaMismatch or StorageError if it cannot serve."""

    async def stop(self) -> None:
        """Let go of connections."""

    async def commit(self, batch: Batch) -> CommitAnswer:
        """Commit a batch whole, but for the shards that it names as fenced or regressed."""

    async def create_room(
        self, row: RoomRow, creator_rooms_max: int = INTEGER_MAX
    ) -> RoomRow | None:
        """Keep the room, as open; return the standing one if creator and key are known.

        ``None`` means that the id or the code is taken: try again with another. Raise TooManyRooms
        if the creator has ``creator_rooms_max`` that have not ended, however many are made at once.
        """

    async def room(self, room_id: int) -> RoomRow | None:
        """Return a room by its id, whatever its status."""

    async def room_by_code(self, code: str) -> RoomRow | None:
        """Return the room that is not ended and has this code."""

    async def rooms(self, game: str | None, *, listed: bool, limit: int) -> tuple[RoomRow, ...]:
        """Return rooms that are not ended, newest first; ``listed`` leaves the others out."""

    async def open_rooms(self, shards: Collection[int]) -> tuple[RoomRow, ...]:
        """Return all open rooms of these shards, oldest first."""

    async def set_aside(self, room_id: int, note: str) -> None:
        """Mark a room as stopped because of an error, unless it has ended; keep the newest note."""

    async def reopen(self, room_id: int) -> bool:
        """Open a room that was set aside, and drop its note; false if it was not set aside."""

    async def save_snapshots(
        self, rows: Sequence[SnapshotRow], marks: Sequence[ShardMark], keep_ticks: int
    ) -> None:
        """Keep snapshots of rooms whose shards are still under the marks' epochs; skip others.

        Heads are not compared. A snapshot replaces one of the same number. Of each room those stay
        that are not more than ``keep_ticks`` older than the newest, and the next older one, so
        that whatever happened in the last ``keep_ticks`` can be replayed.
        """

    async def snapshots(
        self, room_id: int, until_tick: int = INTEGER_MAX
    ) -> tuple[SnapshotRow, ...]:
        """Return the two newest snapshots of a room up to ``until_tick``, newest first."""

    async def entries(self, room_id: int, after: int, limit: int) -> tuple[EntryRow, ...]:
        """Return up to ``limit`` entries of a room with numbers above ``after``, in order."""

    async def verdicts(self, references: Sequence[str]) -> tuple[Verdict, ...]:
        """Return the rulings that are known for these holds, in the order asked."""

    async def results(self, room_id: int, limit: int) -> tuple[ResultRow, ...]:
        """Return a room's results, newest first."""

    async def create_person(self, account: int, name: str, grant_minor: int) -> bool:
        """Keep a new account with a wallet of play money; false if the account is taken."""

    async def rename_person(self, account: int, name: str) -> bool:
        """Give a known account another name; false if there is none."""

    async def persons(self, accounts: Collection[int]) -> tuple[PersonRow, ...]:
        """Return names of those accounts that are known, by account."""

    async def balance(self, account: int) -> int | None:
        """Return an account's balance in minor units, or None if it has no wallet."""

    async def wallet_history(self, account: int, limit: int) -> tuple[WalletRow, ...]:
        """Return an account's newest transfers, newest first."""

    async def scores(self, game: str, limit: int) -> tuple[tuple[int, int], ...]:
        """Return (account, points) of a game's best, ties to who reached their points first."""
