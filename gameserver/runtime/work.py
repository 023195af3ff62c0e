"""A room that is open in this process, and what its ticks have made that is not yet durable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gameserver.engine.commands import Outcome
from gameserver.engine.few import Few
from gameserver.engine.inbox import Inbox
from gameserver.engine.output import TickOutput
from gameserver.engine.room import Room
from gameserver.runtime.ring import Ring
from gameserver.runtime.slots import SLOTS
from gameserver.runtime.viewers import Viewer
from persistence.interfaces import RoomRow

WATCHING = -1


@dataclass(slots=True, eq=False)
class Join:
    """A viewer who wants to be shown a room. ``closed_tick`` is where a returning one stood.

    ``request`` is None for a viewer that is in the room and has missed something.
    """

    opened: OpenRoom
    viewer: Viewer
    request: int | None
    watch: bool
    closed_tick: int | None


@dataclass(slots=True, eq=False)
class Leave:
    """A viewer who wants to give up a seat."""

    opened: OpenRoom
    viewer: Viewer
    request: int
    seat: int


@dataclass(slots=True)
class Shown:
    """What a joining viewer gets when the tick is durable: a seat and the state at its end.

    ``tick`` is that of the room's last entry, not of the moment: only entries survive a crash, so
    only from an entry's tick can anybody resume.
    A seat of None means that the room refused, for the reason with code ``refused``. Whoever was
    here before ``since_tick`` was on another seat. ``outcomes`` are the last ones of a viewer that
    has missed something: they may have been in what it missed.
    """

    join: Join
    tick: int
    seat: int | None
    refused: int = 0
    public: bytes = b""
    private: bytes = b""
    since_tick: int = 0
    outcomes: tuple[Outcome, ...] = ()


@dataclass(slots=True, eq=False)
class OpenRoom:
    """A room with what surrounds it. ``due_beat`` is when it next has something to do by itself.

    ``joins`` and ``leaves`` wait for its next tick, ``unanswered`` are those too that a tick has
    taken. ``handles`` has those viewers whose handle of the room is not 0. ``seats_told`` is how
    many seats were taken at its last durable tick, ``names`` those of who sits there now.
    No snapshot is due before ``snapshot_due_tick``, unless the room ends.
    ``stalled_since_ns`` is since when its works wait for a lock; while they do it does not tick.
    Nor does it while ``paused``, when it is about to be handed over; ``in_flight`` counts the works
    that are not known to be durable.
    """

    row: RoomRow
    room: Room[Any]
    ring: Ring
    offset_ticks: int
    inbox: Inbox = field(default_factory=Inbox)
    viewers: dict[Viewer, int] = field(default_factory=dict)
    handles: dict[Viewer, int] = field(default_factory=dict)
    by_seat: dict[int, Viewer] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    joins: Few[Join] = ()
    leaves: Few[Leave] = ()
    unanswered: dict[Join | Leave, None] = field(default_factory=dict)
    seats_told: int = 0
    asked: set[str] = field(default_factory=set)
    due_beat: int | None = None
    snapshot_number: int = 0
    snapshot_tick: int = 0
    snapshot_due_tick: int = 0
    active: bool = False
    stalled_since_ns: int | None = None
    paused: bool = False
    in_flight: int = 0
    gone: bool = False
    slot: int = field(init=False)

    def __post_init__(self) -> None:
        self.slot = self.row.room_id % SLOTS

    def highest_number(self, account: int) -> int:
        """Return the highest command number that any connection of an account has used by now.

        It is newer than the state that a joining one is shown: an older connection may have sent
        commands since, and the newer one must not give their numbers to others.
        """
        room = self.room
        seat = room.seat_of(account)
        window = room.left.get(account) if seat is None else room.windows[seat]
        decided = 0 if window is None else window.highest
        waiting = [one.number for one in self.inbox.commands if one.seat == seat]
        return max(decided, *waiting) if waiting else decided

    def wants_refill(self, closed_tick: int) -> bool:
        """Tell whether somebody who stood at ``closed_tick`` could be helped by a replay."""
        ring = self.ring
        oldest_tick = self.room.entry_tick - ring.ticks_max
        return ring.is_fresh and oldest_tick <= closed_tick < ring.floor_tick


Roster = list[tuple[int, int, str]]  # Seat, account, name.


@dataclass(frozen=True, slots=True)
class Taken:
    """A room's whole state after one of its entries, as canonical bytes."""

    opened: OpenRoom
    number: int
    tick: int
    state: bytes


class Work(msgspec.Struct):
    """One tick's output on its way to being durable, and what then follows from it.

    ``seats_taken`` and ``roster`` are those at the tick's end; of a large room there is no roster.
    """

    opened: OpenRoom
    output: TickOutput
    seats_taken: int = 0
    shown: Sequence[Shown] = ()
    left: Sequence[Leave] = ()
    roster: Roster | None = None
    snapshot: Taken | None = None
