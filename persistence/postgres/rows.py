"""Between the contract's dataclasses and the columns and arrays of the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from persistence.auditing import SignedHead
from persistence.interfaces import (
    Batch,
    CommitAnswer,
    RoomRow,
    RoomStatus,
    Ruling,
    ShardMark,
    SnapshotRow,
    Verdict,
)

COMMIT_ARGUMENTS = 38
COMMIT = f"SELECT * FROM commit_batch({', '.join(f'${n + 1}' for n in range(COMMIT_ARGUMENTS))})"

ROOM_COLUMNS = (
    "room_id, shard, code, game, rules_version, creator, create_key, listed, settings, status, note"
)
SNAPSHOT_COLUMNS = "room_id, number, tick, rules_version, state_hash, payload"


def commit_arguments(batch: Batch) -> list[Any]:
    """Return the arguments of commit_batch, in its order."""
    # A release is the end of a hold that names no payout.
    ends: list[tuple[int, int, str, int | None]] = [
        *((row.shard, row.room_id, row.reference, row.payout_minor) for row in batch.settles),
        *((row.shard, row.room_id, row.reference, None) for row in batch.releases),
    ]
    return [
        batch.batch_id,
        batch.node,
        *_columns(batch.marks, "shard", "epoch", "clock_tick", "head", "next_head"),
        *_columns(batch.entries, "shard", "room_id", "number", "tick", "payload"),
        *_columns(batch.holds, "shard", "room_id", "reference", "account", "amount_minor"),
        *([end[column] for end in ends] for column in range(4)),
        *_columns(batch.bookings, "shard", "room_id", "reference", "amount_minor"),
        *_columns(batch.results, "shard", "room_id", "round_number", "tick", "payload"),
        *_columns(batch.scores, "shard", "room_id", "reference", "game", "account", "points"),
        *_columns(batch.ends, "shard", "room_id"),
    ]


def _columns(rows: Sequence[object], *names: str) -> list[list[Any]]:
    return [[getattr(row, name) for row in rows] for name in names]


def commit_answer(row: asyncpg.Record) -> CommitAnswer:
    """Return what commit_batch answered."""
    rulings = zip(row["hold_references"], row["hold_rulings"], strict=True)
    return CommitAnswer(
        frozenset(row["fenced"]),
        frozenset(row["regressed"]),
        tuple(Verdict(reference, Ruling(ruling)) for reference, ruling in rulings),
        tuple(zip(row["accounts"], row["balances"], strict=True)),
    )


def room_of(row: asyncpg.Record | dict[str, Any]) -> RoomRow:
    """Return a room from a row of ROOM_COLUMNS."""
    columns = dict(row)
    return RoomRow(**columns | {"status": RoomStatus(row["status"])})


def snapshot_arguments(rows: Sequence[SnapshotRow], marks: Sequence[ShardMark]) -> list[list[Any]]:
    """Return marks and snapshots as arrays; of two with the same number the later counts."""
    last = list({(row.room_id, row.number): row for row in rows}.values())
    return [*_columns(marks, "shard", "epoch"), *_columns(last, *SNAPSHOT_COLUMNS.split(", "))]


def head_arguments(rows: Sequence[SignedHead]) -> list[list[Any]]:
    """Return signed heads as arrays."""
    columns = ("shard", "link", "epoch", "head", "signed_ms", "key_id", "signature")
    return _columns(rows, *columns)
