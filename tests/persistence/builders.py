"""What tests of storage need to say in one line: a node with its marks, rows with defaults."""

import itertools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from persistence.interfaces import (
    NO_HEAD,
    Batch,
    CommitAnswer,
    EntryRow,
    Hold,
    RoomRow,
    Ruling,
    ShardMark,
    SnapshotRow,
    Store,
    chained,
)

Book = Callable[[], Awaitable[dict[tuple[str, int], int]]]  # Balances by kind and number.

_batch_ids = itertools.count(1)


@dataclass
class Node:
    """One owner of shards, keeping epochs, heads and clocks as a committer does."""

    store: Store
    name: str = "node-a"
    epochs: dict[int, int] = field(default_factory=dict)
    heads: dict[int, bytes] = field(default_factory=dict)
    clock_tick: int = 0

    async def take(self, *shards: int) -> None:
        """Take shards over, with what storage says of them."""
        for state in await self.store.take_shards(self.name, shards):
            self.epochs[state.shard] = state.epoch
            self.heads[state.shard] = state.head

    def batch(self, **rows: Iterable[Any]) -> Batch:
        """Return a batch of these rows, marked for all shards of the node."""
        parts: dict[str, Any] = {name: tuple(part) for name, part in rows.items()}
        self.clock_tick += 1
        marks = tuple(
            ShardMark(
                shard, epoch, self.clock_tick, self.heads[shard], self._next_head(shard, parts)
            )
            for shard, epoch in sorted(self.epochs.items())
        )
        return Batch(batch_id=next(_batch_ids), node=self.name, marks=marks, **parts)

    def _next_head(self, shard: int, parts: dict[str, Any]) -> bytes:
        rows: list[EntryRow] = [row for row in parts.get("entries", ()) if row.shard == shard]
        return chained(self.heads[shard], rows) if rows else self.heads[shard]

    async def send(self, batch: Batch) -> CommitAnswer:
        """Commit a batch and take its heads over."""
        answer = await self.store.commit(batch)
        for mark in batch.marks:
            if mark.shard not in answer.fenced | answer.regressed:
                self.heads[mark.shard] = mark.next_head
        return answer

    async def commit(self, **rows: Iterable[Any]) -> CommitAnswer:
        """Build a batch of these rows and commit it."""
        return await self.send(self.batch(**rows))


async def owner(store: Store, *shards: int, name: str = "node-a") -> Node:
    """Return a node that has taken these shards (by default 0 and 1)."""
    node = Node(store, name)
    await node.take(*(shards or (0, 1)))
    return node


def entry(room_id: int, number: int, shard: int = 0, payload: bytes = b"entry") -> EntryRow:
    """Return an entry whose tick follows from its number."""
    return EntryRow(shard, room_id, number, number * 2, payload)


def hold(reference: str, amount_minor: int, account: int = 1, room_id: int = 7) -> Hold:
    """Return a hold of a player in a room of shard 0."""
    return Hold(0, room_id, reference, account, amount_minor)


def room_row(room_id: int, code: str = "", **other: Any) -> RoomRow:
    """Return an open, listed keno room of shard 0 with a code and a key of its own."""
    values: dict[str, Any] = {
        "room_id": room_id,
        "shard": 0,
        "code": code or f"R{room_id:05}",
        "game": "keno",
        "rules_version": 1,
        "creator": 1,
        "create_key": b"key-%d" % room_id,
        "listed": True,
        "settings": b"\x80",
    }
    return RoomRow(**(values | other))


def snapshot_row(room_id: int, number: int, payload: bytes = b"state") -> SnapshotRow:
    """Return a snapshot after an entry."""
    return SnapshotRow(room_id, number, number * 2, 1, bytes(32), payload)


def rulings(answer: CommitAnswer) -> list[tuple[str, Ruling]]:
    """Return the answer's verdicts as pairs."""
    return [(verdict.reference, verdict.ruling) for verdict in answer.verdicts]


def unset_head(node: Node, shard: int) -> None:
    """Make the node believe that its shard's journal is empty."""
    node.heads[shard] = NO_HEAD
