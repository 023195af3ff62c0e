"""From the works of a slot to one batch: rows of storage, in the order in which rooms decided."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from gameserver.engine.effects import Booking, Hold, Release, Result, Score, Settle
from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.work import Work
from persistence import interfaces as p

_IDENTITY = struct.Struct(">cQQ")


class Seals(Protocol):
    """Makes bytes unreadable and unalterable for whoever sees them in storage."""

    def seal(self, plain: bytes, identity: bytes) -> bytes:
        """Return the sealed bytes, bound to the identity of their row."""

    def open(self, sealed: bytes, identity: bytes) -> bytes:
        """Return the plain bytes; raises if anything was altered."""


def entry_identity(room_id: int, number: int) -> bytes:
    """Return what binds a sealed entry to its row."""
    return _IDENTITY.pack(b"J", room_id, number)


def snapshot_identity(room_id: int, number: int) -> bytes:
    """Return what binds a sealed snapshot to its row."""
    return _IDENTITY.pack(b"S", room_id, number)


def batch_of(
    batch_id: int, works: Iterable[Work], keeper: ShardKeeper, seals: Seals, beat: int
) -> p.Batch:
    """Return the batch of these works. Works of shards that are no longer ours are left out."""
    owned = keeper.owned
    chains: dict[int, list[p.EntryRow]] = {}
    lists: dict[str, list[Any]] = {}  # Of most batches none: entries alone are decided.
    for work in works:
        shard = work.opened.row.shard
        if shard not in owned:
            continue
        output = work.output
        if output.entry is not None:
            room_id, number = output.room_id, output.entry_number
            sealed = seals.seal(output.entry, entry_identity(room_id, number))
            row = p.EntryRow(shard, room_id, number, output.tick, sealed)
            if shard in chains:
                chains[shard].append(row)
            else:
                chains[shard] = [row]
        for effect in output.effects:
            name, made = _ROWS[type(effect)]
            lists.setdefault(name, []).append(made(shard, work, effect))
        if output.ended:
            lists.setdefault("ends", []).append(p.RoomEnd(shard, output.room_id))
    marks, entries = [], []
    for shard, rows in sorted(chains.items()):
        mine = owned[shard]
        marks.append(keeper.mark(mine, beat, p.chained(mine.head, rows)))
        entries += rows
    parts = {name: tuple(listed) for name, listed in lists.items()}
    return p.Batch(batch_id, keeper.node, tuple(marks), tuple(entries), **parts)


def clock_batch(batch_id: int, keeper: ShardKeeper, beat: int) -> p.Batch:
    """Return a batch that stores nothing but the clocks of all our shards."""
    marks = tuple(
        keeper.mark(owned, beat, owned.head)
        for shard, owned in sorted(keeper.owned.items())
        if shard not in keeper.passed
    )
    return p.Batch(batch_id, keeper.node, marks)


def transfers_of(work: Work) -> int:
    """Return how many transfers a work asks for."""
    return sum(isinstance(effect, _TRANSFERS) for effect in work.output.effects)


def fitting(works: Sequence[Work]) -> int:
    """Return how many works, from the first, fit into one batch; at least one."""
    transfers = 0
    for count, work in enumerate(works):
        if work.output.effects:
            transfers += transfers_of(work)
            if transfers > p.TRANSFERS_PER_BATCH_MAX and count:
                return count
    return len(works)


_TRANSFERS = (Hold, Settle, Release, Booking)


def _hold(shard: int, work: Work, effect: Hold) -> p.Hold:
    return p.Hold(shard, work.output.room_id, effect.reference, effect.account, effect.amount_minor)


def _settle(shard: int, work: Work, effect: Settle) -> p.Settle:
    return p.Settle(shard, work.output.room_id, effect.reference, effect.payout_minor)


def _release(shard: int, work: Work, effect: Release) -> p.Release:
    return p.Release(shard, work.output.room_id, effect.reference)


def _booking(shard: int, work: Work, effect: Booking) -> p.Booking:
    return p.Booking(shard, work.output.room_id, effect.reference, effect.amount_minor)


def _result(shard: int, work: Work, effect: Result) -> p.ResultRow:
    output = work.output
    return p.ResultRow(shard, output.room_id, effect.round_number, output.tick, effect.payload)


def _score(shard: int, work: Work, effect: Score) -> p.ScoreRow:
    game = work.opened.row.game
    room_id = work.output.room_id
    return p.ScoreRow(shard, room_id, effect.reference, game, effect.account, effect.points)


_ROWS: dict[type, tuple[str, Callable[[int, Work, Any], Any]]] = {
    Hold: ("holds", _hold),
    Settle: ("settles", _settle),
    Release: ("releases", _release),
    Booking: ("bookings", _booking),
    Result: ("results", _result),
    Score: ("scores", _score),
}
