"""Reads every message that one client gets, before the client does, and checks what it says.

It keeps a mirror of the room and compares it with each full state, and with the client's own view.
A full state comes in order with the frames, so it must say what the mirror says already; it may
say more only if the server dropped frames for a slow reader, which the next frame's base shows.
"""

import asyncio
import time
import zlib
from collections.abc import Callable
from typing import Any

import msgpack

from protocol.view import View
from scripts.loadtest.mirror import Message, Mirror, MirrorBroken, Row, differences
from scripts.loadtest.tally import Tally

WELCOME, JOINED, FULL, DELTA, PRIVATE, LEFT, GOODBYE, ZIP = 1, 4, 5, 6, 7, 10, 13, 15


UNREADABLE = (ValueError, TypeError, IndexError, msgpack.UnpackException, zlib.error)


class Suspect:
    """A full state that was not what the mirror said; the next frame tells whose fault it is."""

    __slots__ = ("mirror", "rows", "tick")

    def __init__(self, mirror: Mirror, rows: tuple[Row, ...], tick: int) -> None:
        self.mirror = mirror
        self.rows = rows
        self.tick = tick


class Watch:
    """The eyes of one bot. ``view`` returns the client's own view of a room, if it has one."""

    __slots__ = (
        *("_handles", "_rooms", "_suspects", "_tally", "_unbroken", "_view", "_who"),
        *("changed_ns", "changed_tick", "full_came"),
    )

    def __init__(self, who: str, tally: Tally, view: Callable[[int], View | None]) -> None:
        self._who = who
        self._tally = tally
        self._view = view
        self._rooms: dict[int, Mirror] = {}
        self._handles: dict[int, int] = {}  # Which room frames speak of.
        # Rooms of which nothing was missed since their last full state.
        self._unbroken: set[int] = set()
        self._suspects: dict[int, Suspect] = {}
        self.full_came = asyncio.Event()
        # The last frame that changed something: its tick, and when it came.
        self.changed_tick = -1
        self.changed_ns = 0

    def take(self, payload: bytes) -> None:
        """Take one message as it came."""
        try:
            message = msgpack.unpackb(payload, use_list=False, strict_map_key=False)
            kind = message[0]
            if kind == ZIP:
                message = msgpack.unpackb(zlib.decompress(message[2]), use_list=False)
                kind = message[0]
        except UNREADABLE as error:
            self._tally.error("unreadable", f"{self._who}: {payload[:40]!r}: {error}")
            return
        if kind in (DELTA, PRIVATE):
            self._take_frame(message, kind)
        elif kind == FULL:
            self._take_full(message)
        else:
            take = _TAKE.get(kind)
            if take is not None:
                take(self, message)

    def conclude(self) -> None:
        """Judge what no further frame will clear."""
        for room_id, suspect in list(self._suspects.items()):
            self._judge(room_id, suspect, missed=False)

    # --- One handler for each kind.

    def _take_frame(self, message: Message, kind: int) -> None:
        room_id, tick = self._handles.get(message[1], 0), message[2]
        mirror = self._rooms.get(room_id)
        if mirror is None:
            return
        if self._suspects:
            self._look_again(room_id, message, kind)
        try:
            follows = mirror.take_delta(message) if kind == DELTA else mirror.take_private(message)
        except MirrorBroken as error:
            self._broken(room_id, str(error))
            return
        if not follows:
            self._unbroken.discard(room_id)  # The client notices it too and asks for all.
            self._tally.count("gaps")
        elif message[4]:
            self.changed_tick = tick
            self.changed_ns = time.monotonic_ns()

    def _take_full(self, message: Message) -> None:
        room_id, tick = message[1], message[2]
        self.full_came.set()
        before = self._rooms.get(room_id)
        mirror = self._rooms[room_id] = Mirror()
        try:
            mirror.take_full(message)
        except MirrorBroken as error:
            self._broken(room_id, str(error))
            return
        if before is not None and before.closed_tick >= 0:
            self._compare(room_id, before, mirror, tick)
        self._unbroken.add(room_id)

    def _take_welcome(self, _message: Message) -> None:
        self._unbroken.clear()
        self._suspects.clear()

    def _take_joined(self, message: Message) -> None:
        room_id, is_gapless, reason = message[2], message[8], message[9]
        self._handles[message[10]] = room_id
        if is_gapless and room_id in self._rooms:
            self._unbroken.add(room_id)
        elif reason:
            self._tally.count(f"full_because_{reason.replace(' ', '_')}")

    def _take_left(self, message: Message) -> None:
        room_id = message[1]
        suspect = self._suspects.get(room_id)
        if suspect is not None:
            self._judge(room_id, suspect, missed=False)
        self._rooms.pop(room_id, None)
        self._unbroken.discard(room_id)

    # --- Comparing.

    def _compare(self, room_id: int, before: Mirror, full: Mirror, tick: int) -> None:
        if tick < before.closed_tick:
            self._desync(room_id, f"went back from tick {before.closed_tick} to {tick}")
            return
        rows = before.rows()
        view = self._view(room_id)
        if view is not None and view.closed_tick is not None:
            self._tally.count("views_compared")
            found = differences(rows, view.dump())
            if found:
                self._desync(room_id, f"the client's view differs: {'; '.join(found)}")
        if room_id not in self._unbroken:
            return
        shown = full.rows()
        if differences(rows, shown):
            self._suspects.setdefault(room_id, Suspect(before, shown, tick))
        else:
            self._tally.count("verified")

    def _look_again(self, room_id: int, message: Message, kind: int) -> None:
        """The next shared frame tells whether the mirror had missed something."""
        suspect = self._suspects.get(room_id)
        if suspect is None:
            return
        mirror = suspect.mirror
        if message[2] <= suspect.tick:  # A frame of the full state's own tick, coming after it.
            try:
                mirror.take_delta(message) if kind == DELTA else mirror.take_private(message)
            except MirrorBroken as error:
                del self._suspects[room_id]
                self._broken(room_id, str(error))
        elif kind == DELTA:
            self._judge(room_id, suspect, missed=message[2] - message[3] > mirror.shared_tick)

    def _judge(self, room_id: int, suspect: Suspect, *, missed: bool) -> None:
        del self._suspects[room_id]
        found = differences(suspect.mirror.rows(), suspect.rows)
        if missed:
            self._tally.count("skipped_behind")
        elif found:
            self._desync(room_id, f"tick {suspect.tick}: {'; '.join(found)}")
        else:
            self._tally.count("verified")

    def _broken(self, room_id: int, text: str) -> None:
        self._desync(room_id, text)
        self._rooms[room_id] = Mirror()  # Empty: what follows is a gap until a full state comes.
        self._unbroken.discard(room_id)

    def _desync(self, room_id: int, text: str) -> None:
        self._tally.desync(f"{self._who}, room {room_id}: {text}")


_TAKE: dict[int, Callable[[Watch, Any], None]] = {
    WELCOME: Watch._take_welcome,
    JOINED: Watch._take_joined,
    LEFT: Watch._take_left,
}
