"""One room as an operator may see it: what is kept of it, and what it last took in.

Without secrets: no seeds, nothing that was drawn, and no bodies of commands, which may hold what
people typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gameserver.engine import inputs as i
from gameserver.engine.game import Game
from gameserver.runtime.batching import Seals, entry_identity
from persistence.auditing import Records
from persistence.interfaces import EntryRow, RoomRow

LAST_ENTRIES = 20

Told = dict[str, Any]


async def room_told(
    records: Records, games: Mapping[str, Game[Any]], seals: Seals, room_id: int
) -> Told | None:
    """Return what is kept of a room, or None if there is none."""
    row = await records.room(room_id)
    if row is None:
        return None
    names = _command_names(games.get(row.game))
    entries = await records.last_entries(room_id, LAST_ENTRIES)
    return {
        **row_told(row),
        "snapshots": [
            {
                "entry": one.number,
                "tick": one.tick,
                "rules_version": one.rules_version,
                "bytes": len(one.payload),
                "state_hash": one.state_hash.hex(),
            }
            async for one in records.snapshots(room_id)
        ],
        "entries": [_entry_told(entry, seals, names) for entry in reversed(entries)],
    }


def row_told(row: RoomRow) -> Told:
    """Return a room's row in words."""
    return {
        "room": row.room_id,
        "code": row.code,
        "game": row.game,
        "status": row.status.name.lower(),
        "listed": row.listed,
        "creator": row.creator,
        "shard": row.shard,
        "rules_version": row.rules_version,
        "note": row.note,
    }


def _entry_told(row: EntryRow, seals: Seals, names: Mapping[Any, str]) -> Told:
    told: Told = {"entry": row.number, "tick": row.tick, "bytes": len(row.payload)}
    try:
        entry = i.read_entry(seals.open(row.payload, entry_identity(row.room_id, row.number)))
        told["inputs"] = [_input_told(one, names) for one in entry.inputs]
    except Exception as error:  # An operator looks at rooms that are damaged, too.
        told["unreadable"] = str(error)
    return told


def _input_told(one: list[Any], names: Mapping[Any, str]) -> Told:
    kind = one[0]
    if kind == i.COMMAND:
        _, seat, number, arrival_ms, body, code = one
        tag = msgspec.msgpack.decode(body)[0]
        told: Told = {"input": "command", "seat": seat, "number": number, "code": code}
        return told | {"command": names.get(tag, f"tag {tag}"), "arrival_ms": arrival_ms}
    name, *fields = _FIELDS[kind]
    return {"input": name} | {
        field: value for field, value in zip(fields, one[1:], strict=True) if field
    }


# By kind: what it is called, and its fields; those without a name are not shown.
_FIELDS = {
    i.OPENED: ("opened", "", "", "wall_ms"),
    i.SAT: ("sat", "account"),
    i.LEFT: ("left", "seat"),
    i.LOST: ("lost", "seat"),
    i.VERDICT: ("verdict", "reference", "code"),
    i.DRAWN: ("drawn", "ask", ""),
    i.REOPENED: ("reopened", "wall_ms"),
}


def _command_names(game: Game[Any] | None) -> dict[Any, str]:
    commands = () if game is None else game.commands
    return {command.__struct_config__.tag: command.__name__ for command in commands}
