"""The last 30 seconds of a room's frames, for viewers who missed some.

Bounded by age and by bytes: what falls out is gone, and who needs it gets the full state instead.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from gameserver.runtime.viewers import SharedFrame

RING_BYTES_MAX = 1024 * 1024


class Frames(NamedTuple):
    """What one tick sent: to everybody, and to each seat."""

    tick: int
    shared: SharedFrame | None
    private: dict[int, bytes]


class Ring:
    """Frames of consecutive ticks; it lacks none of those after ``floor_tick``."""

    __slots__ = ("_bytes", "_frames", "floor_tick", "ticks_max")

    def __init__(self, floor_tick: int, ticks_max: int) -> None:
        self._frames: deque[Frames] = deque()
        self._bytes = 0
        self.floor_tick = floor_tick
        self.ticks_max = ticks_max

    def keep(self, frames: Frames) -> None:
        """Add the newest tick and drop what is too old or too much."""
        self._frames.append(frames)
        self._bytes += _bytes_of(frames)
        oldest_tick = frames.tick - self.ticks_max
        while self._frames and (
            self._frames[0].tick <= oldest_tick or self._bytes > RING_BYTES_MAX
        ):
            dropped = self._frames.popleft()
            self._bytes -= _bytes_of(dropped)
            self.floor_tick = dropped.tick

    def since(self, closed_tick: int) -> list[Frames] | None:
        """Return the frames after ``closed_tick``, or None if some of them are gone."""
        if closed_tick < self.floor_tick:
            return None
        return [frames for frames in self._frames if frames.tick > closed_tick]


def _bytes_of(frames: Frames) -> int:
    shared = 0 if frames.shared is None else len(frames.shared.payload)
    return shared + sum(map(len, frames.private.values()))
