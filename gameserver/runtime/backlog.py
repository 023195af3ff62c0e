"""The rooms of shards that were just taken, on their way to being open again.

What was due in a room goes on only when the room is open, so each is recovered, whether somebody
asks for it or not. Whoever joins one meanwhile does not wait for those before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator

import structlog

from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.opening import RECOVERIES_AT_ONCE, Opening
from gameserver.runtime.recovery import Recovery
from persistence.interfaces import RoomRow, StorageError, Store

LIST_TIMEOUT_S = 30.0
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Backlog:
    """Recovers the rooms of the shards that it is given.

    ``on_listed`` is called with the open rooms of shards, as soon as they are known.
    """

    def __init__(
        self, store: Store, keeper: ShardKeeper, opening: Opening, recovery: Recovery
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._opening = opening
        self._recovery = recovery
        self.on_listed: Callable[[Collection[RoomRow]], None] = lambda rows: None
        # Bounded: no shard stands here twice.
        self._shards: set[int] = set()
        self._under_way: set[int] = set()
        self._wake = asyncio.Event()

    def add(self, shards: Collection[int]) -> None:
        """Have the rooms of these shards opened."""
        self._shards.update(shards)
        if self._shards:
            self._wake.set()

    def has(self, shard: int) -> bool:
        """Tell whether there may be rooms of a shard that were not opened yet."""
        return shard in self._shards or shard in self._under_way

    async def run(self) -> None:
        """Recover what comes, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._under_way, self._shards = self._shards, set()
            await self._recover_all(self._under_way)
            self._under_way = set()

    async def _recover_all(self, shards: set[int]) -> None:
        stored = await self._open_rows(shards)
        self.on_listed(stored)
        rows = [row for row in stored if self._recovery.offers(row)]
        if len(rows) < len(stored):
            games = sorted({row.game for row in stored} - {row.game for row in rows})
            log.warning("rooms_wait_for_their_game", count=len(stored) - len(rows), games=games)
        waiting = iter(rows)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(RECOVERIES_AT_ONCE):
                tasks.create_task(self._recover(waiting))
        if rows:
            log.info("rooms_recovered", count=len(rows))

    async def _recover(self, waiting: Iterator[RoomRow]) -> None:
        for row in waiting:
            await self._opening.recover(row)

    async def _open_rows(self, shards: set[int]) -> tuple[RoomRow, ...]:
        while True:
            try:
                async with asyncio.timeout(LIST_TIMEOUT_S):
                    return await self._store.open_rooms(shards & self._keeper.owned.keys())
            except (StorageError, TimeoutError) as error:
                log.warning("rooms_not_listed", error=repr(error))
            await asyncio.sleep(RETRY_S)
