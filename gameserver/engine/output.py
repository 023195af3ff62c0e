"""What one tick of a room asks the outside world to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from gameserver.engine.commands import Outcome
from gameserver.engine.effects import Effect


@dataclass(slots=True)
class PendingOutcome:
    """A command of this tick whose outcome is the verdict on ``reference``."""

    reference: str
    seat: int
    number: int


@dataclass(slots=True)
class TickOutput:
    """Everything that came of a tick.

    ``entry`` and ``effects`` must be committed before anything else here leaves the process.
    ``entry`` is None if nothing was decided; ``entry_number`` counts a room's entries from 1.
    ``shared`` is the tail of the Delta for every viewer, ``private`` that of the Private of each
    seat, which goes before it. ``echoes`` are outcomes of earlier commands, asked for again. Of the
    accounts that asked for a seat, ``seated`` has the seat that they got, ``refused`` the code of
    the reason; ``vacated`` are the seats that were given up.
    ``counts`` names each command that was decided, the code of its outcome, and its arrival.
    """

    room_id: int
    tick: int
    entry: bytes | None = None
    entry_number: int = 0
    shared: bytes | None = None
    private: dict[int, bytes] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    pending: list[PendingOutcome] = field(default_factory=list)
    echoes: list[tuple[int, Outcome]] = field(default_factory=list)
    seated: dict[int, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    vacated: list[int] = field(default_factory=list)
    counts: list[tuple[str, int, int]] = field(default_factory=list)
    ended: bool = False
