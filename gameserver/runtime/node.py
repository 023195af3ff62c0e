"""One node: its shards, rooms, beat and commits, put together, started and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from gameserver.engine.game import Game
from gameserver.runtime.batching import Seals
from gameserver.runtime.clock import Clock
from gameserver.runtime.committer import Committer
from gameserver.runtime.host import RoomHost
from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.opening import RECOVERIES_AT_ONCE, Opening
from gameserver.runtime.recovery import Recovery
from gameserver.runtime.signing import HeadSigner
from gameserver.runtime.slots import Slots
from gameserver.runtime.snapshots import Snapshots
from persistence.interfaces import SHARDS, RoomRow, StorageBusy, StorageError, Store

log = structlog.get_logger(__name__)

AWAY_AFTER_MS = 2_000
START_TIMEOUT_S = 30.0
RETRY_S = 1.0
NO_SHARDS = "it owns no shards"  # It never took them, or newer owners have them all.


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What can be set of a node."""

    name: str
    rooms_max: int
    ring_ticks: int
    snapshot_entries: int
    snapshot_ticks: int


class Node:
    """The rooms of a process, on a store, for the games it is given."""

    def __init__(
        self,
        store: Store,
        games: Mapping[str, Game[Any]],
        seals: Seals,
        clock: Clock,
        settings: NodeSettings,
    ) -> None:
        self.metrics = Metrics()
        self.signer: HeadSigner | None = None  # Whoever keeps a journal for good gives one.
        self._store = store
        self._keeper = ShardKeeper(store, settings.name)
        self._recovery = Recovery(store, games, seals, clock, self.metrics)
        self._opening = Opening(
            store,
            self._keeper,
            self._recovery,
            self.metrics,
            (settings.rooms_max, settings.ring_ticks),
        )
        self._committer = Committer(store, self._keeper, seals, clock, self.metrics)
        self._snapshots = Snapshots(store, self._keeper, seals, clock, self.metrics)
        self._snapshots.entries_between = settings.snapshot_entries
        self._snapshots.ticks_between = settings.snapshot_ticks
        self._snapshots.ring_ticks = settings.ring_ticks
        self.host = RoomHost(games, self._opening, self._committer, self._snapshots, clock)
        committer = self._committer
        self._slots = Slots(clock, self.metrics, self.host.run_slot, lambda: committer.is_full)

    def unready(self) -> str:
        """Return why rooms cannot be served just now, or nothing."""
        if not self._keeper.owned:
            return NO_SHARDS
        if self._keeper.refused:
            shards = ", ".join(map(str, sorted(self._keeper.refused)))
            return f"the database went backwards: shards {shards} are not served"
        return "storage is away" if self._committer.is_behind(AWAY_AFTER_MS) else ""

    async def start(self, refused: Collection[int] = ()) -> None:
        """Take the shards, but for those ``refused``; from now on nobody else can write to them."""
        self._keeper.refused.update(refused)
        wanted = [shard for shard in range(SHARDS) if shard not in self._keeper.refused]
        async with asyncio.timeout(START_TIMEOUT_S):
            while wanted and not self._keeper.owned:
                try:
                    await self._keeper.take(wanted, self._slots.beat)
                except StorageBusy as error:  # A commit of the owner before us is still under way.
                    log.warning("shards_not_taken_yet", error=str(error))
                    await asyncio.sleep(RETRY_S)

    async def run(self) -> None:
        """Keep the beat, commit, and recover the rooms that were open, until ``drain`` ends it."""
        async with asyncio.TaskGroup() as tasks:
            helpers: tuple[asyncio.Task[None], ...] = (
                tasks.create_task(self._snapshots.run(), name="snapshots"),
                tasks.create_task(self._opening.run(), name="opening"),
                tasks.create_task(self._recover_all(), name="recovery"),
            )
            if self.signer is not None:
                helpers += (tasks.create_task(self.signer.run(self._keeper), name="signer"),)
            committing = tasks.create_task(self._committer.run(), name="committer")
            await self._slots.run()
            for helper in helpers:
                helper.cancel()
            self._committer.stop()
            await committing
            await self._snapshots.save_all(list(self.host.rooms.values()))
            if self.signer is not None:
                await self.signer.sign(self._keeper)

    def drain(self) -> None:
        """Let ``run`` end: tick no more, commit what was decided, store the rooms whole."""
        self._slots.stop()

    async def _recover_all(self) -> None:
        """Open the rooms that were open before, so that what is due in them goes on."""
        stored = await self._open_rows()
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

    async def _open_rows(self) -> tuple[RoomRow, ...]:
        while True:
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    return await self._store.open_rooms(self._keeper.owned)
            except (StorageError, TimeoutError) as error:
                log.warning("rooms_not_listed", error=repr(error))
            await asyncio.sleep(RETRY_S)
