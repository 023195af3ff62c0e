"""Gives rooms to another node between two of their ticks.

Rooms stand still, all that they decided becomes durable, they are stored whole, and the shard
passes on. Then their viewers are sent after them. Until somebody else has the shard, it is ours,
and its rooms can go on here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from gameserver.runtime.closing import Closing
from gameserver.runtime.opening import Opening
from gameserver.runtime.snapshots import Snapshots
from gameserver.runtime.work import OpenRoom

SETTLE_TIMEOUT_S = 2.0


class Handover:
    """Brings rooms to rest, and lets them go or lets them go on."""

    def __init__(self, opening: Opening, snapshots: Snapshots, closing: Closing) -> None:
        self._opening = opening
        self._snapshots = snapshots
        self._closing = closing
        self._news = asyncio.Event()

    def settled(self) -> None:
        """Note that all that a room decided before it came to rest is durable."""
        self._news.set()

    async def rest(self, shards: Collection[int]) -> bool:
        """Stop the rooms of shards after a tick, and store them; false if that cannot be done now.

        A room that is opened while they rest does not tick either.
        """
        self._opening.resting.update(shards)
        rooms = self._opening.of_shards(shards)
        for opened in rooms:
            opened.paused = True
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                while any(opened.in_flight and not opened.gone for opened in rooms):
                    self._news.clear()
                    await self._news.wait()
                return await self._snapshots.save_all([one for one in rooms if not one.gone])
        except TimeoutError:
            return False

    def restless(self, shards: Collection[int]) -> set[int]:
        """Return those with a room that waits for a lock, or was stopped and is not at rest."""
        return {
            opened.row.shard
            for opened in self._opening.of_shards(shards)
            if opened.stalled_since_ns is not None or (opened.paused and not _is_at_rest(opened))
        }

    def go_on(self, shards: Collection[int]) -> None:
        """Let the rooms tick again: nobody else has taken them."""
        self._opening.resting.difference_update(shards)
        for opened in self._opening.of_shards(shards):
            opened.paused = False

    def let_go(self, shards: Collection[int]) -> None:
        """Give the shards up; who sees their rooms is told where they go on."""
        self._opening.resting.difference_update(shards)
        for shard in shards:
            self._opening.keeper.drop(shard)
            self._closing.shard_lost(shard)


def _is_at_rest(opened: OpenRoom) -> bool:
    return not opened.in_flight and opened.snapshot_number == opened.room.entry_number
