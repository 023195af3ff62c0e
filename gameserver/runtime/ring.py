"""The last 30 seconds of a room's frames, for viewers who missed some.

Bounded by age and by bytes: what falls out is gone, and who needs it gets the full state instead.
All rooms have one, and nearly none is ever read: so a ring is one run of bytes, ticks one after
another, and no objects that the garbage collector would have to walk through.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

RING_BYTES_MAX = 1024 * 1024
TRIM_TICKS = 32  # What is too old may stay for so long: to look for it in each tick costs more.

# Of a tick: how many bytes follow, which tick, how many bytes of them are shared. In the order of
# the machine's own bytes, which is made fastest: nobody else reads them.
_HEAD = Struct("=IQI")
# Of what one seat was sent: which seat, how many bytes.
_PRIVATE = Struct("=II")
_NOT_SHARED = 2**32 - 1


class Frames(NamedTuple):
    """What one tick sent: the tail of what went to everybody, and of what went to each seat."""

    tick: int
    shared: bytes | None
    private: dict[int, bytes]


class Ring:
    """Frames of consecutive ticks; it lacks none of those after ``floor_tick``.

    ``is_fresh`` tells that what it lacks was never here: frames from before a recovery, which a
    replay could bring back.
    """

    __slots__ = ("_kept", "_trim_tick", "floor_tick", "is_fresh", "newest_tick", "ticks_max")

    def __init__(self, floor_tick: int, ticks_max: int) -> None:
        self._kept = bytearray()
        self._trim_tick = floor_tick + ticks_max + TRIM_TICKS
        self.floor_tick = floor_tick
        self.newest_tick = floor_tick
        self.ticks_max = ticks_max
        self.is_fresh = floor_tick > 0

    def keep(self, tick: int, shared: bytes | None, private: dict[int, bytes]) -> None:
        """Add the newest tick; drop what is too old now and then, and what is too much at once."""
        kept = self._kept
        kept += _packed(tick, shared, private)
        self.newest_tick = tick
        if tick >= self._trim_tick or len(kept) > RING_BYTES_MAX:
            self._trim()

    def _trim(self) -> None:
        kept, oldest_tick = self._kept, self.newest_tick - self.ticks_max
        end = 0
        for at, tick in self._places():
            if tick > oldest_tick and len(kept) - at <= RING_BYTES_MAX:
                break
            end = at + _HEAD.size + _HEAD.unpack_from(kept, at)[0]
            self.floor_tick = tick
            self.is_fresh = False
        del kept[:end]
        self._trim_tick = self.newest_tick + TRIM_TICKS

    def reach_back(self, older: Ring) -> bool:
        """Take in an older ring's frames, which end where these began, as far as there is room.

        False if some of these have been dropped meanwhile: there would be a hole.
        """
        if not self.is_fresh:
            return False
        self.is_fresh = False
        self.floor_tick = older.floor_tick
        first = 0
        for at, tick in older._places():
            is_too_old = tick <= self.newest_tick - self.ticks_max
            if is_too_old or len(self._kept) + len(older._kept) - at > RING_BYTES_MAX:
                self.floor_tick = tick
                first = at + _HEAD.size + _HEAD.unpack_from(older._kept, at)[0]
        self._kept = older._kept[first:] + self._kept
        return True

    def since(self, closed_tick: int) -> list[Frames] | None:
        """Return the frames after ``closed_tick``, or None if some of them are gone."""
        self._trim()
        if closed_tick < self.floor_tick:
            return None
        return [_unpacked(self._kept, at) for at, tick in self._places() if tick > closed_tick]

    def _places(self) -> Iterator[tuple[int, int]]:
        """Yield where each tick begins, and which it is."""
        at, end = 0, len(self._kept)
        while at < end:
            length, tick, _ = _HEAD.unpack_from(self._kept, at)
            yield at, tick
            at += _HEAD.size + length


def _packed(tick: int, shared: bytes | None, private: dict[int, bytes]) -> bytes:
    rest = shared or b""
    if private:
        parts = [rest]
        for seat, tail in private.items():
            parts += (_PRIVATE.pack(seat, len(tail)), tail)
        rest = b"".join(parts)
    return _HEAD.pack(len(rest), tick, _NOT_SHARED if shared is None else len(shared)) + rest


def _unpacked(kept: bytearray, at: int) -> Frames:
    length, tick, shared_length = _HEAD.unpack_from(kept, at)
    at += _HEAD.size
    end = at + length
    shared = None
    if shared_length != _NOT_SHARED:
        shared = bytes(kept[at : at + shared_length])
        at += shared_length
    private: dict[int, bytes] = {}
    while at < end:
        seat, tail_length = _PRIVATE.unpack_from(kept, at)
        at += _PRIVATE.size
        private[seat] = bytes(kept[at : at + tail_length])
        at += tail_length
    return Frames(tick, shared, private)
