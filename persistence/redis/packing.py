"""Records and lines as bytes in Redis, and where a room stands in its lists.

A record of another version of this code is read as far as it goes; one that cannot be read is
left out, because one strange node must not blind all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from persistence.directory import DirectoryUnavailable, NodeRecord, RoomLine

_Kept = TypeVar("_Kept", NodeRecord, RoomLine)

_encoder = msgspec.msgpack.Encoder()
_nodes = msgspec.msgpack.Decoder(NodeRecord)
_lines = msgspec.msgpack.Decoder(RoomLine)
_shards = msgspec.msgpack.Decoder(list[int])
_shards_by_owner = msgspec.msgpack.Decoder(dict[str, list[int]])


def packed(kept: NodeRecord | RoomLine | list[int]) -> bytes:
    """Return a record, a line or shards as bytes."""
    return _encoder.encode(kept)


def nodes(answer: Iterable[bytes]) -> tuple[NodeRecord, ...]:
    """Return the records of an answer by name."""
    found = _readable(answer, _nodes)
    return tuple(sorted(found, key=lambda record: record.name))


def lines(answer: Iterable[bytes]) -> tuple[RoomLine, ...]:
    """Return the lines of an answer in its order."""
    return tuple(_readable(answer, _lines))


def shards(answer: bytes) -> frozenset[int]:
    """Return the shards of an answer, which is empty for none."""
    return frozenset(_shards.decode(answer)) if answer else frozenset()


def leases(answer: bytes) -> dict[int, str]:
    """Return who has which shard, in the order of shards; DirectoryUnavailable if nobody can say.

    What stands there was not written by a node, and whoever wrote it can mend it.
    """
    try:
        by_owner = _shards_by_owner.decode(answer) if answer else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DirectoryUnavailable(f"the leases there cannot be read: {error}") from error
    return dict(sorted((shard, owner) for owner, held in by_owner.items() for shard in held))


def room_key(room_id: int) -> str:
    """Return a room's name in the index: the end of its place."""
    return f"{room_id:016x}"


def place(line: RoomLine) -> str:
    """Return the text by which a room with a free seat is found; the last is found first."""
    if line.seats_taken >= line.seats_max:
        return ""
    age = f"{line.serial:016x}{room_key(line.room_id)}"
    return f"{places_beginning(line.game)}{line.seats_taken:08x}{age}"


def places_beginning(game: str) -> str:
    """Return how places among the rooms of a game with a free seat begin."""
    return f"free\0{game}\0"


def _readable(answer: Iterable[bytes], decoder: msgspec.msgpack.Decoder[_Kept]) -> list[_Kept]:
    found: list[_Kept] = []
    for one in answer:
        try:
            found.append(decoder.decode(one))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found
