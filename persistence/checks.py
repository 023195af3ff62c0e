"""What can be said against data without asking any storage: bounds, order, and belonging.

Both stores refuse the same things with it before they begin. It knows no balances, heads or
entries that are kept: what depends on those is each store's own to find.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from persistence.interfaces import (
    CREATE_KEY_BYTES_MAX,
    HEAD_BYTES,
    INTEGER_MAX,
    TEXT_CHARS_MAX,
    TRANSFERS_PER_BATCH_MAX,
    Batch,
    EntryRow,
    Poisoned,
    RoomRow,
    ShardMark,
    SnapshotRow,
)
from persistence.ownership import SHARDS_MAX, Succession

BATCH_ID_MAX = 2**63 - 1
STATE_HASH_BYTES_MAX = 64


def check_batch(batch: Batch) -> None:
    """Raise Poisoned unless the batch is well formed by itself."""
    _check_integers("batch_id", (batch.batch_id,), most=BATCH_ID_MAX)
    _check_texts("node", (batch.node,))
    check_marks(batch.marks)
    marked = {mark.shard for mark in batch.marks}
    _check_entries(batch.entries, marked)
    if batch.has_effects:
        _check_effects(batch, marked)


def check_marks(marks: Sequence[ShardMark]) -> None:
    """Raise Poisoned unless each shard is marked once, with heads of the right size."""
    for mark in marks:
        if not (
            0 <= mark.shard <= INTEGER_MAX
            and 0 <= mark.epoch <= INTEGER_MAX
            and 0 <= mark.clock_tick <= INTEGER_MAX
        ):
            raise Poisoned(f"{mark.shard}, {mark.epoch}, {mark.clock_tick} are no mark's numbers")
        if len(mark.head) != HEAD_BYTES or len(mark.next_head) != HEAD_BYTES:
            raise Poisoned(f"a head of shard {mark.shard} has not {HEAD_BYTES} bytes")
    if len({mark.shard for mark in marks}) != len(marks):
        raise Poisoned("a shard is marked twice")


def check_room(row: RoomRow, creator_rooms_max: int) -> None:
    """Raise Poisoned unless the room can be kept."""
    _check_integers("creator_rooms_max", (creator_rooms_max,))
    _check_integers("room", (row.room_id, row.shard, row.rules_version, row.creator))
    _check_texts("room", (row.code, row.game))
    if not 1 <= len(row.create_key) <= CREATE_KEY_BYTES_MAX:
        raise Poisoned(f"a create key has {len(row.create_key)} bytes")


def check_snapshots(rows: Sequence[SnapshotRow], keep_ticks: int) -> None:
    """Raise Poisoned unless the snapshots can be kept."""
    _check_integers("keep_ticks", (keep_ticks,))
    for row in rows:
        _check_integers("snapshot", (row.room_id, row.number, row.tick, row.rules_version))
        if not 1 <= len(row.state_hash) <= STATE_HASH_BYTES_MAX:
            raise Poisoned(f"a state hash has {len(row.state_hash)} bytes")


def check_person(account: int, name: str, grant_minor: int) -> None:
    """Raise Poisoned unless the person and the grant can be kept."""
    _check_integers("person", (account, grant_minor))
    _check_texts("name", (name,))


def check_taking(node: str, shards: Iterable[int], succession: Succession | None) -> None:
    """Raise Poisoned unless the node can become an owner, and of these shards."""
    _check_names("node", (node,))
    _check_integers("shard", shards)
    if succession is not None:
        _check_texts("dead node", succession.dead)
        _check_integers("stale_ms", (succession.stale_ms or 0,))


def check_passing(node: str, to: str, marks: Sequence[ShardMark]) -> None:
    """Raise Poisoned unless the shards can be passed on; to nobody they can."""
    _check_names("node", (node,))
    _check_texts("node", (to,))
    check_marks(marks)


def check_cluster(shards: int) -> None:
    """Raise Poisoned unless a cluster can have so many shards."""
    _check_integers("shards", (shards,), least=1, most=SHARDS_MAX)


def check_claim(task: str, node: str, stale_ms: int) -> None:
    """Raise Poisoned unless the task and the node can be named."""
    _check_names("task", (task, node))
    _check_integers("stale_ms", (stale_ms,))


def is_text(text: str) -> bool:
    """Whether a short text can be kept as it is."""
    # Halves of surrogate pairs are what is left of names that were never UTF-8.
    return (
        len(text) <= TEXT_CHARS_MAX
        and "\0" not in text
        and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))
    )


def plain(text: str) -> str:
    """Return a text of any length with what cannot be kept replaced by question marks."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")


def _check_effects(batch: Batch, marked: Collection[int]) -> None:
    _check_belonging(batch, marked)
    _check_money(batch)
    for result in batch.results:
        _check_integers("result", (result.room_id, result.round_number, result.tick))
    _check_texts("score reference", (score.reference for score in batch.scores))
    _check_texts("score game", (score.game for score in batch.scores))
    _check_integers("score account", (score.account for score in batch.scores))
    _check_integers("points", (score.points for score in batch.scores), least=-INTEGER_MAX)
    _check_integers("room_id", (end.room_id for end in batch.ends))


class _Rowlike(Protocol):
    @property
    def shard(self) -> int: ...


def _check_belonging(batch: Batch, marked: Collection[int]) -> None:
    parts: tuple[Sequence[_Rowlike], ...] = (
        batch.holds,
        batch.settles,
        batch.releases,
        batch.bookings,
        batch.results,
        batch.scores,
        batch.ends,
    )
    for rows in parts:
        for row in rows:
            if row.shard not in marked:
                raise Poisoned(f"a row of shard {row.shard} has no mark")


def _check_entries(rows: Sequence[EntryRow], marked: Collection[int]) -> None:
    last: dict[int, int] = {}
    for row in rows:
        if row.shard not in marked:
            raise Poisoned(f"an entry of shard {row.shard} has no mark")
        room_id, number = row.room_id, row.number
        if not (
            0 <= room_id <= INTEGER_MAX
            and 1 <= number <= INTEGER_MAX
            and 0 <= row.tick <= INTEGER_MAX
        ):
            raise Poisoned(f"{room_id}, {number}, {row.tick} are no entry's numbers")
        before = last.get(room_id)
        if before is not None and number != before + 1:
            raise Poisoned(f"entry {number} of room {room_id} follows entry {before}")
        last[room_id] = number


def _check_money(batch: Batch) -> None:
    parts = (batch.holds, batch.settles, batch.releases, batch.bookings)
    if sum(map(len, parts)) > TRANSFERS_PER_BATCH_MAX:
        raise Poisoned(f"a batch may hold {TRANSFERS_PER_BATCH_MAX} transfers")
    for hold in batch.holds:
        _check_integers("hold", (hold.room_id, hold.account))
        _check_integers("hold", (hold.amount_minor,), least=1)
    for settle in batch.settles:
        _check_integers("settlement", (settle.room_id, settle.payout_minor))
    for release in batch.releases:
        _check_integers("release", (release.room_id,))
    for booking in batch.bookings:
        _check_integers("booking", (booking.room_id,))
        _check_integers("booking", (booking.amount_minor,), least=-INTEGER_MAX)
    for rows in parts:
        _check_texts("reference", (row.reference for row in rows))
    settled = {settle.reference for settle in batch.settles}
    for release in batch.releases:
        if release.reference in settled:
            raise Poisoned(f"hold {release.reference} is both settled and released")


def _check_integers(
    what: str, values: Iterable[int], *, least: int = 0, most: int = INTEGER_MAX
) -> None:
    for value in values:
        if not least <= value <= most:
            raise Poisoned(f"{what}: {value} is not from {least} to {most}")


def _check_texts(what: str, texts: Iterable[str]) -> None:
    for text in texts:
        if not is_text(text):
            raise Poisoned(f"{what}: {text[:TEXT_CHARS_MAX]!r} cannot be kept as a short text")


def _check_names(what: str, names: Sequence[str]) -> None:
    _check_texts(what, names)
    if "" in names:
        raise Poisoned(f"{what}: nobody has an empty name")
