"""What a room host knows of those who watch its rooms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from protocol import codec
from protocol.frames import framed


class SharedFrame:
    """What a tick has changed for every viewer of a room: the tail of a Delta.

    The frames are made once for all to whom the room has the same handle: nearly everybody.
    """

    __slots__ = ("_frames", "tail")

    def __init__(self, tail: bytes) -> None:
        self.tail = tail
        self._frames: dict[int, bytes] = {}

    def frame(self, handle: int) -> bytes:
        """Return the whole Delta as a frame."""
        frame = self._frames.get(handle)
        if frame is None:
            frame = self._frames[handle] = framed(codec.delta(handle, self.tail))
        return frame


def tick_frames(handle: int, private: bytes | None, shared: SharedFrame | None) -> bytes:
    """Return the frames of one tick for one viewer, the private one first."""
    frame = b"" if shared is None else shared.frame(handle)
    return frame if private is None else framed(codec.private(handle, private)) + frame


class Viewer(Protocol):
    """A connection, as rooms see it. Nothing here waits."""

    account: int
    name: str

    @property
    def write_at_once(self) -> Callable[[bytes], object] | None:
        """Return what sends it a frame when that is all there is to do: it reads, misses nothing.

        None when anything else has to be looked at, as ``deliver`` does.
        """

    def deliver(
        self,
        room_id: int,
        handle: int,
        told_tick: int,
        private: bytes | None,
        shared: SharedFrame | None,
    ) -> None:
        """Send the frames of one tick, the private one first: tails, which lack the handle.

        A viewer that is too slow may drop them. It has then been told all up to ``told_tick``, and
        asks for the rest with ``RoomHost.catch_up``.
        """

    def count_at_once(self, frames: int, bytes_out: int) -> None:
        """Count frames that were written at once, to it or to others of this process."""

    def send(self, payload: bytes) -> None:
        """Send any other message, in order with the frames."""

    def joined(self, room_id: int) -> int:
        """Note that frames of this room follow; return its handle, by which they name it."""

    def left(self, room_id: int) -> None:
        """Note that no more frames of this room follow."""
