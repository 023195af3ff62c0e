"""What a room host knows of those who watch its rooms."""

from __future__ import annotations

from typing import Protocol


class SharedFrame:
    """A message that goes to every viewer of a room as the same bytes.

    ``wire`` is the message with its framing, made once by whoever sends it first.
    """

    __slots__ = ("payload", "wire")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.wire: bytes | None = None


class Viewer(Protocol):
    """A connection, as rooms see it. Nothing here waits."""

    account: int
    name: str

    def deliver(
        self, room_id: int, tick: int, private: bytes | None, shared: SharedFrame | None
    ) -> None:
        """Send the frames of one tick, the private one first.

        A viewer that is too slow may drop them; it then asks for ``RoomHost.catch_up``.
        """

    def send(self, payload: bytes) -> None:
        """Send any other message, in order with the frames."""

    def joined(self, room_id: int, seat: int, tick: int) -> None:
        """Note that frames of this room follow, beginning after ``tick``."""

    def left(self, room_id: int) -> None:
        """Note that no more frames of this room follow."""
