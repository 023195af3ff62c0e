"""Snapshots of a time that a restored backup knows nothing of."""

from __future__ import annotations

from gameserver.engine import inputs as i
from gameserver.runtime.batching import entry_identity
from persistence.interfaces import EntryRow
from tests.runtime.pots import Put
from tests.runtime.rig import SEALER, Eyes, FaultyStore, node_running
from tests.virtual import virtual

ANN = 101
KEPT = 4


async def played(store: FaultyStore, commands: int, *, entries: int = 3) -> int:
    """Play some commands on a node that then just goes; return the total of the room."""
    async with node_running(store, f"n{commands}", snapshot_entries=entries, crash=True) as rig:
        row = await store.room(1) or await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        highest = rig.node.host.rooms[1].room.windows[0].highest
        for number in range(1, commands + 1):
            await rig.done(row, ann, highest + number, Put(1))
        await rig.beats()
        total: int = rig.node.host.rooms[1].room.state.total
        return total


def total_at(store: FaultyStore) -> int:
    """Return how much was put by the entries that are kept."""
    entries = [
        i.read_entry(SEALER.open(row.payload, entry_identity(1, row.number)))
        for row in store._entries[1]
    ]
    return sum(row[0] == i.COMMAND for entry in entries for row in entry.inputs)


@virtual
async def test_a_snapshot_that_is_ahead_of_its_journal_is_not_used() -> None:
    store = FaultyStore()
    assert await played(store, 8) == 8
    store._entries[1] = store._entries[1][:KEPT]
    kept = total_at(store)
    assert 0 < kept < 8
    assert await played(store, 1) == kept + 1


@virtual
async def test_a_snapshot_of_a_journal_that_took_another_way_is_not_used() -> None:
    store = FaultyStore()
    await played(store, 8)
    lost: dict[int, object] = dict(store._snapshots[1])
    store._entries[1] = store._entries[1][:KEPT]
    store._snapshots[1].clear()
    kept = total_at(store)
    assert await played(store, 9, entries=1000) == kept + 9
    store._snapshots[1] = lost  # type: ignore[assignment]
    assert max(lost) <= len(store._entries[1])
    assert await played(store, 1) == kept + 10


@virtual
async def test_a_snapshot_is_used_though_the_journal_up_to_it_was_pruned() -> None:
    class Pruned(FaultyStore):
        async def entries(self, room_id: int, after: int, limit: int) -> tuple[EntryRow, ...]:
            rows = await super().entries(room_id, after, limit)
            return tuple(row for row in rows if row.number > self.pruned)

        pruned = 0

    store = Pruned()
    await played(store, 8)
    store.pruned = min(store._snapshots[1])
    del store._snapshots[1][max(store._snapshots[1])]
    assert await played(store, 1) == 9
