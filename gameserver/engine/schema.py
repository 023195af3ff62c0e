"""What a game's records, commands and reasons are called, for clients of any language.

Deltas speak in numbers; whoever has this description can speak in names.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gameserver.engine.commands import ENGINE_REASONS
from gameserver.engine.fields import name_of
from gameserver.engine.game import Game
from gameserver.engine.records import Record
from gameserver.engine.system import System


def describe(game: Game[Any]) -> dict[str, Any]:
    """Return plain values that describe a game: records, commands, reasons, settings.

    ``roots`` names the types of records 1 and 2. Secret fields are left out.
    """
    records: dict[str, Any] = {}
    for root in (System, game.state):
        _describe(root, records)
    return {
        "game": game.name,
        "title": game.title,
        "rules_version": game.rules_version,
        "seats_max": game.seats_max,
        "roots": [System.__name__, game.state.__name__],
        "records": records,
        "commands": [_command(command) for command in game.commands],
        "reasons": [list(reason) for reason in (*ENGINE_REASONS, *game.reasons)],
        "settings": msgspec.json.schema(game.settings),
    }


def _describe(record: type[Record], into: dict[str, Any]) -> None:
    if record.__name__ in into or record.audience.name == "SECRET":
        return
    children = [child for child in record.children if child.record.audience.name != "SECRET"]
    into[record.__name__] = {
        "fields": [
            [field.number, field.name, name_of(field.hint), field.visibility.name.lower()]
            for field in record.fields
            if field.visibility.name != "SECRET"
        ],
        "children": [
            [child.number, child.name, child.record.__name__, child.is_table] for child in children
        ],
    }
    for child in children:
        _describe(child.record, into)


def _command(command: type[msgspec.Struct]) -> list[Any]:
    """Return [tag, name, fields]; a field is [name, JSON schema of its type, required]."""
    fields = [
        [field.name, msgspec.json.schema(field.type), field.required]
        for field in msgspec.structs.fields(command)
    ]
    return [command.__struct_config__.tag, command.__name__, fields]
