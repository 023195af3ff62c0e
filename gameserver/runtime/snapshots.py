"""Decides when a room's state is stored whole, and stores it once its tick is durable.

A snapshot only shortens recovery, so one that is late or lost costs nothing but time.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from hashlib import sha256

import structlog

from gameserver.engine import snapshot
from gameserver.runtime.batching import Seals, snapshot_identity
from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.work import OpenRoom, Work
from persistence.interfaces import ShardMark, SnapshotRow, StorageError, Store

log = structlog.get_logger(__name__)

BUDGET_NS = 5 * NS_PER_MS  # Of a slot; what does not fit waits for the room's next tick.
WAITING_MAX = 256  # When storage is slow, rooms go without until there is a place.
SAVE_TIMEOUT_S = 5.0
ROWS_AT_ONCE = 32


class Snapshots:
    """Takes snapshots within a slot's budget and writes them behind the commits."""

    def __init__(
        self, store: Store, keeper: ShardKeeper, seals: Seals, clock: Clock, metrics: Metrics
    ) -> None:
        self.entries_between = 100
        self.ticks_between = 600  # 30 s of activity.
        self.ring_ticks = 600  # What a ring of frames reaches back must be replayable.
        self._store = store
        self._keeper = keeper
        self._seals = seals
        self._clock = clock
        self._metrics = metrics
        # Bounded by WAITING_MAX; when full no new snapshot is taken.
        self._waiting: deque[tuple[OpenRoom, SnapshotRow]] = deque()
        self._wake = asyncio.Event()
        self._slot_ns = 0
        self._spent_ns = 0

    def consider(self, work: Work, now_ns: int) -> None:
        """Take a snapshot with this work if its room has come far enough since the last."""
        opened = work.opened
        room = opened.room
        far = room.entry_number - opened.snapshot_number >= self.entries_between
        long = room.entry_tick - opened.snapshot_tick >= self.ticks_between
        if not (far or long or work.output.ended) or len(self._waiting) >= WAITING_MAX:
            return
        if now_ns - self._slot_ns > BUDGET_NS:
            self._slot_ns, self._spent_ns = now_ns, 0
        if self._spent_ns < BUDGET_NS:
            work.snapshot = self._take(opened)
            self._spent_ns += self._clock.now_ns() - now_ns

    def _take(self, opened: OpenRoom) -> bytes:
        room = opened.room
        opened.snapshot_number, opened.snapshot_tick = room.entry_number, room.entry_tick
        return snapshot.dump(room)

    def keep(self, work: Work) -> None:
        """Have the work's snapshot stored: its tick is durable now."""
        if work.snapshot is not None:
            self._waiting.append((work.opened, self._row(work.opened, work)))
            self._wake.set()

    def _row(self, opened: OpenRoom, work: Work) -> SnapshotRow:
        data, output = work.snapshot or b"", work.output
        identity = snapshot_identity(output.room_id, output.entry_number)
        return SnapshotRow(
            output.room_id,
            output.entry_number,
            output.tick,
            opened.room.game.rules_version,
            sha256(data).digest(),
            self._seals.seal(zlib.compress(data, 1), identity),
        )

    async def run(self) -> None:
        """Store what waits, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Store all that waits now."""
        while self._waiting:
            rows = [self._waiting.popleft() for _ in range(min(len(self._waiting), ROWS_AT_ONCE))]
            await self._save(rows)

    async def save_all(self, rooms: list[OpenRoom]) -> None:
        """Store the state of these rooms as it is; to be called when nothing ticks any more."""
        for opened in rooms:
            if opened.room.entry_number > opened.snapshot_number:
                data, room = self._take(opened), opened.room
                identity = snapshot_identity(room.room_id, room.entry_number)
                row = SnapshotRow(
                    room.room_id,
                    room.entry_number,
                    room.entry_tick,
                    room.game.rules_version,
                    sha256(data).digest(),
                    self._seals.seal(zlib.compress(data, 1), identity),
                )
                self._waiting.append((opened, row))
        await self.flush()

    async def _save(self, rows: list[tuple[OpenRoom, SnapshotRow]]) -> None:
        marks: dict[int, ShardMark] = {}
        for opened, _ in rows:
            owned = self._keeper.owned.get(opened.row.shard)
            if owned is not None:
                marks[owned.shard] = self._keeper.mark(owned, 0, owned.head)
        try:
            async with asyncio.timeout(SAVE_TIMEOUT_S):
                await self._store.save_snapshots(
                    [row for _, row in rows], list(marks.values()), self.ring_ticks
                )
        except (StorageError, TimeoutError) as error:
            log.warning("snapshots_not_stored", count=len(rows), error=repr(error))
            return
        self._metrics.snapshots_total += len(rows)
