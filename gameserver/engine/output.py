"""What one tick of a room asks the outside world to do."""

from __future__ import annotations

import msgspec

from gameserver.engine.commands import Outcome
from gameserver.engine.effects import Effect
from gameserver.engine.few import Few


class PendingOutcome(msgspec.Struct, gc=False):
    """A command of this tick whose outcome is the verdict on ``reference``."""

    reference: str
    seat: int
    number: int


class TickOutput(msgspec.Struct, gc=False):
    """Everything that came of a tick.

    ``entry`` and ``effects`` must be committed before anything else here leaves the process.
    ``entry`` is None if nothing was decided; ``entry_number`` counts a room's entries from 1.
    ``shared`` is the tail of the Delta for every viewer, ``private`` that of the Private of each
    seat, which goes before it. ``echoes`` are outcomes of earlier commands, asked for again. Of the
    accounts that asked for a seat, ``seated`` has the seat that they got, ``refused`` the code of
    the reason, and both are None if there are none; ``vacated`` are the seats that were given up.
    ``counts`` names each command that was decided, the code of its outcome, and its arrival.
    """

    room_id: int
    tick: int
    entry: bytes | None = None
    entry_number: int = 0
    shared: bytes | None = None
    private: dict[int, bytes] = {}
    effects: Few[Effect] = ()
    pending: Few[PendingOutcome] = ()
    echoes: Few[tuple[int, Outcome]] = ()
    seated: dict[int, int] | None = None
    refused: dict[int, int] | None = None
    vacated: Few[int] = ()
    counts: Few[tuple[str, int, int]] = ()
    ended: bool = False
