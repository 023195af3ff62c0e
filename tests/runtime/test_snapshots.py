"""Snapshots share calls of storage, whether it is quick or slow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from persistence.interfaces import ShardMark, SnapshotRow
from tests.runtime.pots import Put
from tests.runtime.rig import Eyes, FaultyStore, node_running
from tests.virtual import virtual


class SlowStore(FaultyStore):
    """Takes its time for snapshots, and counts how many come with each call."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    async def save_snapshots(
        self, rows: Sequence[SnapshotRow], marks: Sequence[ShardMark], ring_ticks: int
    ) -> None:
        self.counts.append(len(rows))
        await asyncio.sleep(0.06)
        await super().save_snapshots(rows, marks, ring_ticks)


@virtual
async def test_what_comes_while_others_are_stored_gathers_again() -> None:
    store = SlowStore()
    async with node_running(store, snapshot_entries=1) as rig:
        row, ann = await rig.room(), Eyes(101)
        await rig.join(row, ann)
        for number in range(1, 31):
            rig.command(row, ann, number, Put(1))
            await rig.beats(1)
        assert sum(store.counts) >= 25
        assert max(store.counts[1:]) >= 3
        assert len(store.counts) <= sum(store.counts) / 2
