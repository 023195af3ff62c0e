"""A command's body as it comes: the command, or what is wrong with it."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from gameserver.engine.commands import Command
from gameserver.engine.room import Room
from protocol.messages import InvalidCode

FIELD_CHARS_MAX = 64


class Unreadable(NamedTuple):
    """Why a body is no command of the room's game, and which part of it is at fault."""

    code: InvalidCode
    field: str = ""


def read(room: Room[Any], body: bytes) -> Command | Unreadable:
    """Return the command that a body holds, or what is wrong with it."""
    try:
        return room.decode(body)
    except msgspec.ValidationError as error:
        # msgspec names the part that is at fault: ``Expected `int`, got `str` - at `$[2]```.
        place = str(error).partition(" - at `")[2].removesuffix("`")
        is_tag = place == "$[0]"
        code = InvalidCode.UNKNOWN_COMMAND if is_tag else InvalidCode.MALFORMED
        return Unreadable(code, place[:FIELD_CHARS_MAX])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Unreadable(InvalidCode.MALFORMED)
