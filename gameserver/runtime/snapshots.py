"""Decides when a room's state is stored whole, and stores it once its tick is durable.

A snapshot only shortens recovery, so one that is late or lost costs nothing but time.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from hashlib import sha256
from typing import Any

import structlog

from gameserver.engine import snapshot
from gameserver.engine.room import Room
from gameserver.runtime.batching import Seals, snapshot_identity
from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.work import OpenRoom, Taken, Work
from persistence.interfaces import ShardMark, SnapshotRow, StorageError, Store

log = structlog.get_logger(__name__)

BUDGET_NS = 5 * NS_PER_MS  # Of a slot; what does not fit waits for the room's next tick.
WAITING_MAX = 256  # When storage is slow, rooms go without until there is a place.
SAVE_TIMEOUT_S = 5.0
ROWS_AT_ONCE = 32
GATHER_S = 0.1  # A call costs us and storage more than a row does: the rows of so long share one.
# Less is stored as it is, as a stream of zlib's that compresses nothing: it would save no more than
# a fraction of what the entries since the last snapshot took, and cost as much as several ticks.
COMPRESSED_BYTES_MIN = 16 * 1024
LARGE_BYTES = 128 * 1024  # More takes milliseconds to compress, and goes to a thread.


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
        self._waiting: deque[Taken] = deque()
        self._wake = asyncio.Event()
        self._storing = asyncio.Lock()
        self._slot_ns = 0
        self._spent_ns = 0

    def consider(self, work: Work) -> None:
        """Take a snapshot with this work if its room has come far enough since the last."""
        opened = work.opened
        room, ended = opened.room, work.output.ended
        entries = opened.snapshot_number + self.entries_between - room.entry_number
        ticks = opened.snapshot_tick + self.ticks_between - room.entry_tick
        # A tick has one entry at most.
        opened.snapshot_due_tick = room.entry_tick + min(entries, ticks)
        if (min(entries, ticks) > 0 and not ended) or len(self._waiting) >= WAITING_MAX:
            return
        now_ns = self._clock.now_ns()
        if now_ns - self._slot_ns > BUDGET_NS:
            self._slot_ns, self._spent_ns = now_ns, 0
        if self._spent_ns < BUDGET_NS:
            work.snapshot = self._take(opened)
            self._spent_ns += self._clock.now_ns() - now_ns

    def _take(self, opened: OpenRoom) -> Taken:
        room = opened.room
        opened.snapshot_number, opened.snapshot_tick = room.entry_number, room.entry_tick
        return Taken(opened, room.entry_number, room.entry_tick, snapshot.dump(room))

    def keep(self, work: Work) -> None:
        """Have the work's snapshot stored: its tick is durable now."""
        if work.snapshot is not None:
            self._waiting.append(work.snapshot)
            self._wake.set()

    async def run(self) -> None:
        """Store what waits, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if len(self._waiting) < ROWS_AT_ONCE:
                await asyncio.sleep(GATHER_S)
            await self.flush()

    async def flush(self) -> None:
        """Store all that waits now, after what is being stored already."""
        async with self._storing:
            left = len(self._waiting)  # What comes meanwhile gathers again.
            while left:
                count = min(left, ROWS_AT_ONCE)
                left -= count
                await self._store_some([self._waiting.popleft() for _ in range(count)])

    async def save_all(self, rooms: list[OpenRoom]) -> bool:
        """Store the state of these rooms as it is; false if that failed for any.

        To be called when none of them ticks any more.
        """
        for opened in rooms:
            if opened.room.entry_number > opened.snapshot_number:
                self._waiting.append(self._take(opened))
        await self.flush()
        return all(one.snapshot_number == one.room.entry_number for one in rooms if not one.gone)

    async def _store_some(self, taken: list[Taken]) -> None:
        is_stored = False
        try:
            is_stored = await self._save(taken)
        finally:
            for one in () if is_stored else taken:  # Whoever needs it takes it again.
                one.opened.snapshot_number = min(one.opened.snapshot_number, one.number - 1)

    async def _save(self, taken: list[Taken]) -> bool:
        marks: dict[int, ShardMark] = {}
        for one in taken:
            owned = self._keeper.owned.get(one.opened.row.shard)
            if owned is not None:
                marks[owned.shard] = self._keeper.right(owned)
        states = [one.state for one in taken if len(one.state) >= COMPRESSED_BYTES_MIN]
        if sum(map(len, states)) < LARGE_BYTES:
            rows = self._rows(taken)
        else:  # Hashing, compressing and sealing let go of the interpreter.
            rows = await asyncio.to_thread(self._rows, taken)
        try:
            async with asyncio.timeout(SAVE_TIMEOUT_S):
                await self._store.save_snapshots(rows, list(marks.values()), self.ring_ticks)
        except (StorageError, TimeoutError) as error:
            log.warning("snapshots_not_stored", count=len(rows), error=repr(error))
            return False
        self._metrics.snapshots_total += len(rows)
        return True

    def _rows(self, taken: list[Taken]) -> list[SnapshotRow]:
        return [
            snapshot_row(one.opened.room, (one.number, one.tick, one.state), self._seals)
            for one in taken
        ]


def snapshot_row(room: Room[Any], taken: tuple[int, int, bytes], seals: Seals) -> SnapshotRow:
    """Return the row of a room's state: after which entry, at which tick, and what it was."""
    number, tick, state = taken
    packed = zlib.compress(state, 0 if len(state) < COMPRESSED_BYTES_MIN else 1)
    sealed = seals.seal(packed, snapshot_identity(room.room_id, number))
    return SnapshotRow(
        room.room_id, number, tick, room.game.rules_version, sha256(state).digest(), sealed
    )
