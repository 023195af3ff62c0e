"""Between the contract's dataclasses and the columns and arrays of the database."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

import asyncpg
import msgspec
from msgspec.structs import astuple

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
from persistence.ownership import Row

_as_json = msgspec.json.Encoder().encode

# The parts of a batch as commit_batch takes them: an array for each field of its rows, in order.
_MARKS = ("integer", "bigint", "bigint", "bytea", "bytea")
_ENTRIES = ("integer", "bigint", "bigint", "bigint", "bytea")
_HOLDS = ("integer", "bigint", "text", "bigint", "bigint")
_ENDINGS = ("integer", "bigint", "text", "bigint")
_BOOKINGS = ("integer", "bigint", "text", "bigint")
_RESULTS = ("integer", "bigint", "bigint", "bigint", "bytea")
_SCORES = ("integer", "bigint", "text", "text", "bigint", "bigint")
_ENDS = ("integer", "bigint")
_NUMBERS = ("integer", "bigint")


def _commit(given: tuple[tuple[str, ...], ...], left_out: tuple[tuple[str, ...], ...]) -> str:
    arguments = ["$1", "$2"]
    for kind in chain.from_iterable(given):
        cast = f"text::{kind}[]" if kind in _NUMBERS else f"{kind}[]"
        arguments.append(f"${len(arguments) + 1}::{cast}")
    arguments += ["'{}'"] * sum(map(len, left_out))
    return f"SELECT * FROM commit_batch({', '.join(arguments)})"


# Most commits move no money and end nothing: to say so takes 26 empty arrays, if it has to be said.
_EFFECTS = (_HOLDS, _ENDINGS, _BOOKINGS, _RESULTS, _SCORES, _ENDS)
COMMIT_ENTRIES = _commit((_MARKS, _ENTRIES), _EFFECTS)
COMMIT_ALL = _commit((_MARKS, _ENTRIES, *_EFFECTS), ())

ROOM_COLUMNS = (
    "room_id, shard, code, game, rules_version, creator, create_key, listed, settings, status, note"
)
SNAPSHOT_COLUMNS = "room_id, number, tick, rules_version, state_hash, payload"


def commit_call(batch: Batch) -> tuple[str, list[Any]]:
    """Return the statement that commits a batch, and its arguments."""
    arguments = [
        batch.batch_id,
        batch.node,
        *_arrays(_MARKS, batch.marks),
        *_arrays(_ENTRIES, batch.entries),
    ]
    if not batch.has_effects:
        return COMMIT_ENTRIES, arguments
    # A release is the end of a hold that names no payout.
    endings: list[tuple[Any, ...]] = [
        *map(astuple, batch.settles),
        *((row.shard, row.room_id, row.reference, None) for row in batch.releases),
    ]
    arguments += _arrays(_HOLDS, batch.holds)
    arguments += _columns(_ENDINGS, endings)
    arguments += _arrays(_BOOKINGS, batch.bookings)
    arguments += _arrays(_RESULTS, batch.results)
    arguments += _arrays(_SCORES, batch.scores)
    arguments += _arrays(_ENDS, batch.ends)
    return COMMIT_ALL, arguments


def _arrays(kinds: Sequence[str], rows: Sequence[Row]) -> list[Any]:
    return _columns(kinds, list(map(astuple, rows)))


def _columns(kinds: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return an argument for each column. Whole numbers go as the text of their array.

    asyncpg asks each element of an array three times what it is, which costs more than its text.
    """
    columns = zip(*rows, strict=True) if rows else repeat(())
    return [
        _numbers(column) if kind in _NUMBERS else column
        for kind, column in zip(kinds, columns, strict=False)
    ]


def _numbers(column: Sequence[int | None]) -> str:
    """Return the text of an array. That of JSON is the same but for its brackets."""
    return "{" + _as_json(column)[1:-1].decode() + "}"


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


def _named(rows: Sequence[object], *names: str) -> list[list[Any]]:
    return [[getattr(row, name) for row in rows] for name in names]


def snapshot_arguments(rows: Sequence[SnapshotRow], marks: Sequence[ShardMark]) -> list[list[Any]]:
    """Return marks and snapshots as arrays; of two with the same number the later counts."""
    last = list({(row.room_id, row.number): row for row in rows}.values())
    return [*_named(marks, "shard", "epoch"), *_named(last, *SNAPSHOT_COLUMNS.split(", "))]


def head_arguments(rows: Sequence[SignedHead]) -> list[list[Any]]:
    """Return signed heads as arrays."""
    columns = ("shard", "link", "epoch", "head", "signed_ms", "key_id", "signature")
    return _named(rows, *columns)
