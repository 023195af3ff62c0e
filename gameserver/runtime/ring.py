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
    """Frames of consecutive ticks; it lacks none of those after ``floor_tick``.

    ``is_fresh`` tells that what it lacks was never here: frames from before a recovery, which a
    replay could bring back.
    """

    __slots__ = ("_bytes", "_frames", "floor_tick", "is_fresh", "ticks_max")

    def __init__(self, floor_tick: int, ticks_max: int) -> None:
        self._frames: deque[Frames] = deque()
        self._bytes = 0
        self.floor_tick = floor_tick
        self.ticks_max = ticks_max
        self.is_fresh = floor_tick > 0

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
            self.is_fresh = False

    def reach_back(self, older: Ring) -> bool:
        """Take in an older ring's frames, which end where these began, as far as there is room.

        False if some of these have been dropped meanwhile: there would be a hole.
        """
        if not self.is_fresh:
            return False
        self.is_fresh = False
        newest_tick = self._frames[-1].tick if self._frames else self.floor_tick
        while older._frames:
            frames = older._frames.pop()
            if (
                frames.tick <= newest_tick - self.ticks_max
                or self._bytes + _bytes_of(frames) > RING_BYTES_MAX
            ):
                self.floor_tick = frames.tick
                return True
            self._frames.appendleft(frames)
            self._bytes += _bytes_of(frames)
        self.floor_tick = older.floor_tick
        return True

    def since(self, closed_tick: int) -> list[Frames] | None:
        """Return the frames after ``closed_tick``, or None if some of them are gone."""
        if closed_tick < self.floor_tick:
            return None
        return [frames for frames in self._frames if frames.tick > closed_tick]


def _bytes_of(frames: Frames) -> int:
    shared = 0 if frames.shared is None else len(frames.shared.payload)
    return shared + sum(map(len, frames.private.values()))
