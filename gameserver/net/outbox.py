"""What waits to be sent to one client, and what happens when it does not read.

The bytes wait in the transport, so the outbox holds none itself; it knows how many there are,
whether they move, and which rooms they do not keep up with. Its policy for being full:

- above ``soft_bytes`` a room's updates are dropped; once the outbox has drained, the room host
  is asked for one update in their place;
- above ``hard_bytes``, or when nothing moves for ``stall_ns``, the client is cut off.

A message is measured before it is added, so that one large full state passes on an empty outbox:
the bound is the hard limit and one message.
"""

import asyncio
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """The bounds of an outbox."""

    soft_bytes: int
    hard_bytes: int
    stall_ns: int


class Outbox:
    """Writes to one transport and watches how it drains."""

    __slots__ = (
        "_asked",
        "_behind",
        "_limits",
        "_sent",
        "_since_ns",
        "_transport",
        "rooms",
        "written",
    )

    def __init__(self, transport: asyncio.WriteTransport, limits: OutboxLimits) -> None:
        # What each room that is seen is called here: its handle.
        self.rooms: dict[int, int] = {}
        self.written = 0
        self._transport = transport
        self._limits = limits
        # Rooms of which updates were dropped, in the order in which that happened, and the tick
        # up to which nothing was.
        self._behind: dict[int, int] = {}
        # Those of them whose host has been asked to make it good. What comes before its answer
        # would leave a gap.
        self._asked: set[int] = set()
        # What had been sent when it was last seen to move, and since when it has not; None while
        # nobody watches. ``written`` counts only meanwhile.
        self._sent = 0
        self._since_ns: int | None = None
        # Below the low mark the transport calls resume_writing: the moment to catch up.
        transport.set_write_buffer_limits(high=limits.soft_bytes, low=limits.soft_bytes // 4)

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait."""
        return self._transport.get_write_buffer_size()

    @property
    def is_over_soft(self) -> bool:
        """Whether updates are to be merged instead of sent."""
        return self._transport.get_write_buffer_size() > self._limits.soft_bytes

    @property
    def is_over_hard(self) -> bool:
        """Whether the client is to be cut off."""
        return self._transport.get_write_buffer_size() > self._limits.hard_bytes

    @property
    def is_watched(self) -> bool:
        """Whether bytes waited when it was last looked at."""
        return self._since_ns is not None

    @property
    def is_behind(self) -> bool:
        """Whether a host is to be asked to make good what was dropped."""
        return bool(self._behind)

    @property
    def is_clear(self) -> bool:
        """Whether all that is written can just be handed to the transport."""
        return self._since_ns is None and not self._behind and not self._asked

    def write(self, data: bytes) -> None:
        """Hand ``data`` to the transport, unless that has failed already."""
        if not self._transport.is_closing():
            self._transport.write(data)
            self.written += len(data)

    def enter(self, room_id: int) -> int:
        """Take updates of this room from now on; return what it is called here."""
        self._behind.pop(room_id, None)
        self._asked.discard(room_id)
        handle = self.rooms.get(room_id)
        if handle is None:
            used = set(self.rooms.values())
            handle = next(number for number in count() if number not in used)
            self.rooms[room_id] = handle
        return handle

    def leave(self, room_id: int) -> None:
        """Take no more updates of this room."""
        self.rooms.pop(room_id, None)
        self._behind.pop(room_id, None)
        self._asked.discard(room_id)

    def drops(self, room_id: int, told_tick: int) -> bool:
        """Tell whether an update of a room is to be dropped; ``told_tick`` is the one before it."""
        if room_id in self._asked:
            return True
        if room_id in self._behind or self.is_over_soft:
            self._behind.setdefault(room_id, told_tick)
            return True
        return False

    def take_behind(self) -> tuple[int, int] | None:
        """Return one room whose host is to be asked for what was dropped, and its closed tick.

        Its ticks are dropped until the host enters it again. None if there is no such room, or
        while the outbox is too full for what it would be sent.
        """
        if not self._behind or self.is_over_soft:
            return None
        room_id = next(iter(self._behind))
        closed_tick = self._behind.pop(room_id)
        self._asked.add(room_id)
        return room_id, closed_tick

    def watch(self, now_ns: int) -> None:
        """Begin to watch whether the bytes that wait move."""
        if self._since_ns is None:
            self._since_ns = now_ns
            self._sent = self.written - self.unsent_bytes

    def is_stalled(self, now_ns: int) -> bool:
        """Look whether the bytes moved; say whether they stood still for too long."""
        if self._since_ns is None:
            return False
        unsent_bytes = self.unsent_bytes
        if unsent_bytes == 0:
            self._since_ns = None
            return False
        sent = self.written - unsent_bytes
        if sent > self._sent:
            self._sent = sent
            self._since_ns = now_ns
            return False
        return now_ns - self._since_ns >= self._limits.stall_ns
