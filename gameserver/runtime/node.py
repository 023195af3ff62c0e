"""One node: its shards, rooms, beat and commits, put together, started and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from gameserver.engine.game import Game
from gameserver.runtime.backlog import Backlog
from gameserver.runtime.batching import Seals
from gameserver.runtime.clock import Clock
from gameserver.runtime.committer import Committer
from gameserver.runtime.handover import Handover
from gameserver.runtime.host import RoomHost
from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.opening import Opening
from gameserver.runtime.recovery import Recovery
from gameserver.runtime.signing import HeadSigner
from gameserver.runtime.slots import Slots
from gameserver.runtime.snapshots import Snapshots
from persistence.interfaces import StorageBusy, Store
from persistence.ownership import Succession

log = structlog.get_logger(__name__)

AWAY_AFTER_MS = 2_000
START_TIMEOUT_S = 30.0
RETRY_S = 1.0
NO_SHARDS = "it owns no shards"  # It never took them, or newer owners have them all.


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What can be set of a node."""

    name: str
    shards: int
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
        self.keeper = ShardKeeper(store, settings.name, settings.shards)
        self.metrics.shards = settings.shards
        self.keeper.on_count = self._count_shards
        self.is_alone = True  # Else it may have no shards just now, and serves all the same.
        self._recovery = Recovery(store, games, seals, clock, self.metrics)
        self._opening = Opening(
            store,
            self.keeper,
            self._recovery,
            self.metrics,
            (settings.rooms_max, settings.ring_ticks),
        )
        self.committer = Committer(store, self.keeper, seals, clock, self.metrics)
        self._snapshots = Snapshots(store, self.keeper, seals, clock, self.metrics)
        self._snapshots.entries_between = settings.snapshot_entries
        self._snapshots.ticks_between = settings.snapshot_ticks
        self._snapshots.ring_ticks = settings.ring_ticks
        self.host = RoomHost(games, self._opening, self.committer, self._snapshots, clock)
        self.backlog = Backlog(store, self.keeper, self._opening, self._recovery)
        self.handover = Handover(self._opening, self._snapshots, self.host.closing)
        self.host.on_settled = self.handover.settled
        host, committer = self.host, self.committer
        self._slots = Slots(
            clock, self.metrics, host.run_slot, lambda: committer.is_full, host.overload
        )

    def unready(self) -> str:
        """Return why rooms, or newcomers, cannot be served just now, or nothing."""
        if self.is_alone and not self.keeper.owned:
            return NO_SHARDS
        if self.keeper.refused:
            shards = ", ".join(map(str, sorted(self.keeper.refused)))
            return f"the database went backwards: shards {shards} are not served"
        if self.committer.is_behind(AWAY_AFTER_MS):
            return "storage is away"
        return self.host.overload.reason

    async def start(self, refused: Collection[int] = ()) -> None:
        """Take all shards, but for those ``refused``; from now on nobody else writes to them."""
        self.keeper.refused.update(refused)
        async with asyncio.timeout(START_TIMEOUT_S):
            while not self.keeper.owned and len(self.keeper.refused) < self.keeper.shards:
                try:
                    await self.take(range(self.keeper.shards))
                except StorageBusy as error:  # A commit of the owner before us is still under way.
                    log.warning("shards_not_taken_yet", error=str(error))
                    await asyncio.sleep(RETRY_S)

    def _count_shards(self, owned: int) -> None:
        self.metrics.shards_owned = owned

    async def take(
        self, shards: Collection[int], succession: Succession | None = None
    ) -> list[int]:
        """Become the owner of shards, and have their rooms recovered; return which are new."""
        taken = await self.keeper.take(shards, self._slots.beat_now, succession)
        self.backlog.add(taken)
        return taken

    async def run(self) -> None:
        """Keep the beat, commit, and recover the rooms that were open, until ``drain`` ends it."""
        async with asyncio.TaskGroup() as tasks:
            helpers: tuple[asyncio.Task[None], ...] = (
                tasks.create_task(self._snapshots.run(), name="snapshots"),
                tasks.create_task(self._opening.run(), name="opening"),
                tasks.create_task(self.backlog.run(), name="recovery"),
            )
            if self.signer is not None:
                helpers += (tasks.create_task(self.signer.run(self.keeper), name="signer"),)
            committing = tasks.create_task(self.committer.run(), name="committer")
            await self._slots.run()
            for helper in helpers:
                helper.cancel()
            self.committer.stop()
            await committing
            await self._snapshots.save_all(list(self.host.rooms.values()))
            if self.signer is not None:
                await self.signer.sign(self.keeper)

    def drain(self) -> None:
        """Let ``run`` end: tick no more, commit what was decided, store the rooms whole."""
        self._slots.stop()
