"""What a room host knows of those who watch its rooms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class SharedFrame:
    """What a tick has changed for every viewer of a room: the tail of a Delta.

    ``frames`` are the whole messages with their framing, by handle; each is made once, by whoever
    sends it first. Nearly all viewers have the same handle.
    """

    __slots__ = ("frames", "tail")

    def __init__(self, tail: bytes) -> None:
        self.tail = tail
        self.frames: dict[int, bytes] = {}


class Viewer(Protocol):
    """A connection, as rooms see it. Nothing here waits."""

    account: int
    name: str

    @property
    def write_at_once(self) -> Callable[[bytes], object] | None:
        """How to send it a tick's frame when that is all there is to do: it reads, misses nothing.

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
        """Count frames that were written at once, to whichever viewers of this process."""

    def send(self, payload: bytes) -> None:
        """Send any other message, in order with the frames."""

    def joined(self, room_id: int) -> int:
        """Note that frames of this room follow; return its handle, by which they name it."""

    def left(self, room_id: int) -> None:
        """Note that no more frames of this room follow."""
