"""The smallest game there can be, for tests of what surrounds games."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from gameserver.engine.commands import Command
from gameserver.engine.game import Game
from gameserver.engine.records import Record


class TinyState(Record):
    """A state that is always the same."""


class TinySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One choice, within bounds."""

    pace: Annotated[int, Meta(ge=1, le=9)] = 3


class TinyGame(Game[TinyState]):
    """A game in which nothing can be done."""

    name = "tiny"
    title = "Tiny"
    seats_max = 2
    state = TinyState
    settings: ClassVar[type[msgspec.Struct]] = TinySettings
    commands: ClassVar[tuple[type[Command], ...]] = ()
