"""The benchmark's room as the Python peers have it: who plays there, and what has changed.

Commands and deltas are those of `ws_server.mjs`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import msgspec

TICK_S = 0.05
FIELDS = 8

Player = TypeVar("Player")
packed = msgspec.msgpack.Encoder().encode


class Room(Generic[Player]):
    """Players by their connections, in the order in which they came."""

    def __init__(self) -> None:
        self.players: dict[Player, list[int]] = {}
        self._seats = 0
        self._changes: dict[int, int] = {}
        self._beat = 0

    def enter(self, player: Player) -> int:
        """Seat a player; return the seat."""
        self.players[player] = [0] * FIELDS
        self._seats += 1
        return self._seats - 1

    def set(self, player: Player, seat: int, value: int) -> None:
        """Set the player's first field."""
        self.players[player][0] = self._changes[seat] = value

    def tick(self) -> bytes:
        """Return what everybody is to be told."""
        self._beat += 1
        delta = [self._beat]
        for seat, value in self._changes.items():
            delta += (seat, 1, value)
        self._changes.clear()
        return packed(delta)


async def beat(rooms: Mapping[str, Room[Player]], tell: Callable[[Room[Player]], None]) -> None:
    """Tell all rooms, again and again; a late tick does not shift later ones."""
    due_s = time.monotonic()
    while True:
        for room in tuple(rooms.values()):
            tell(room)
        due_s = max(due_s + TICK_S, time.monotonic() - TICK_S)
        await asyncio.sleep(max(due_s - time.monotonic(), 0))
