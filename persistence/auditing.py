"""What an audit reads: everything that was recorded, as it stood at one moment.

Rows as they are kept, in the order of their keys, without a judgement: whoever audits finds out by
itself what is wrong with them. Nothing can be written here but what `Store` writes too.

A signed head is a statement of a node: *at this time the journal of this shard ended with this
link*. The message that is signed begins with a purpose, so that no signature made for anything
else (a player's token) can be taken for one of a head, nor the other way round.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from persistence.interfaces import EntryRow, RoomRow, SnapshotRow

# A token's signature is over text without a zero byte.
HEAD_PURPOSE = b"gameserver/journal-head/1\0"
KEY_ID_BYTES = 8

_HEAD = struct.Struct(">QQQQ")


@dataclass(frozen=True, slots=True)
class ShardHead:
    """Where a shard's journal ends, as its row says."""

    shard: int
    epoch: int
    link: int
    head: bytes


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One link of a shard's chain."""

    shard: int
    link: int
    prev_head: bytes
    head: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class ChainedEntry:
    """An entry, and where it stands in its shard's chain."""

    link: int
    place: int
    entry: EntryRow


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A shard's head at a time, signed with the key that ``key_id`` names."""

    shard: int
    link: int
    epoch: int
    head: bytes
    signed_ms: int
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class FloorRow:
    """How far a shard's journal was pruned: up to this link, whose head is kept."""

    shard: int
    link: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much was removed: of the journals, of rooms that have ended, of answers to batches."""

    links: int
    entries: int
    snapshots: int
    answers: int


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account of the book: kind is player, escrow, house or issue."""

    kind: str
    number: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class TransferRow:
    """Money that moved from one account to another."""

    transfer_id: int
    kind: str
    reference: str
    debit: tuple[str, int]
    credit: tuple[str, int]
    amount_minor: int


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold, its ruling, and how it ended: state is held, settled, released or refused."""

    reference: str
    account: int
    room_id: int
    amount_minor: int
    ruling: int
    state: str
    payout_minor: int | None


@dataclass(frozen=True, slots=True)
class RecordedResult:
    """What a round came to, as it is kept."""

    room_id: int
    round_number: int
    tick: int
    payload: bytes


class Records(Protocol):
    """Everything that was recorded, as it stood when the first of these was called."""

    async def shards(self) -> tuple[ShardHead, ...]:
        """Return all shards that were ever taken."""

    async def shards_signed(self) -> frozenset[int]:
        """Return the shards of which a head was signed."""

    async def floors(self) -> tuple[FloorRow, ...]:
        """Return how far the journals were pruned, for those that were."""

    async def link(self, shard: int, link: int) -> LinkRow | None:
        """Return one link."""

    def links(self) -> AsyncIterator[LinkRow]:
        """Yield all links, by shard and number."""

    def chained(self) -> AsyncIterator[ChainedEntry]:
        """Yield all entries, by shard, link and place."""

    def signed_heads(self, shard: int) -> AsyncIterator[SignedHead]:
        """Yield a shard's signed heads by link."""

    def rooms(self) -> AsyncIterator[RoomRow]:
        """Yield all rooms, oldest first."""

    async def room(self, room_id: int) -> RoomRow | None:
        """Return one room."""

    async def last_entries(self, room_id: int, limit: int) -> tuple[EntryRow, ...]:
        """Return a room's newest entries, newest first."""

    def entries(self, room_id: int) -> AsyncIterator[EntryRow]:
        """Yield a room's entries by number."""

    def snapshots(self, room_id: int) -> AsyncIterator[SnapshotRow]:
        """Yield a room's snapshots by number."""

    def results(self, room_id: int) -> AsyncIterator[RecordedResult]:
        """Yield a room's results by round."""

    def accounts(self) -> AsyncIterator[AccountRow]:
        """Yield all accounts, by kind and number."""

    def transfers(self) -> AsyncIterator[TransferRow]:
        """Yield all transfers, by reference and kind."""

    def holds(self) -> AsyncIterator[HoldRow]:
        """Yield all holds by reference."""


class HeadStore(Protocol):
    """Where signed heads are kept."""

    async def save_heads(self, rows: Sequence[SignedHead]) -> None:
        """Keep signed heads; one that is kept already stays."""


def key_id(key: Ed25519PublicKey) -> bytes:
    """Return what names a public key in a signed head."""
    return hashlib.sha256(key.public_bytes_raw()).digest()[:KEY_ID_BYTES]


def signed_head(key: Ed25519PrivateKey, state: ShardHead, signed_ms: int) -> SignedHead:
    """Return the head, signed."""
    message = _message(state.shard, state.link, state.epoch, signed_ms, state.head)
    return SignedHead(
        *(state.shard, state.link, state.epoch, state.head, signed_ms),
        *(key_id(key.public_key()), key.sign(message)),
    )


def is_signed(row: SignedHead, key: Ed25519PublicKey) -> bool:
    """Tell whether this key made the signature for exactly this head."""
    message = _message(row.shard, row.link, row.epoch, row.signed_ms, row.head)
    try:
        key.verify(row.signature, message)
    except InvalidSignature:
        return False
    return row.key_id == key_id(key)


def _message(shard: int, link: int, epoch: int, signed_ms: int, head: bytes) -> bytes:
    return HEAD_PURPOSE + _HEAD.pack(shard, link, epoch, signed_ms) + head
