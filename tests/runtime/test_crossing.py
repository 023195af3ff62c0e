"""What the simulation found: messages of one player that cross, from one device or from two."""

from __future__ import annotations

from protocol.messages import Joined, LeftCode, Outcome
from tests.runtime.pots import Put
from tests.runtime.rig import Eyes, FaultyStore, left_codes, node_running
from tests.virtual import virtual

ANN, BOB = 101, 102


@virtual
async def test_who_missed_something_and_leaves_at_the_same_time_just_leaves() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(row, ann)
        await rig.join(row, bob)
        rig.node.host.resync(1, ann)
        assert rig.node.host.leave(1, ann, 5)
        await rig.beats()
        assert left_codes(ann) == [LeftCode.LEFT]
        assert (await rig.done(row, bob, 1, Put(2))).kind == 0


@virtual
async def test_a_newer_device_takes_no_number_that_the_older_one_used_meanwhile() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        old, new = Eyes(ANN), Eyes(ANN)
        await rig.join(row, old)
        rig.store.away.clear()
        rig.command(row, old, 1, Put(1))
        await rig.beats(1)
        await rig.join(row, new)
        await rig.beats(1)
        # The room has let the newer one in, but nobody knows of it yet.
        rig.command(row, old, 4, Put(1))
        await rig.beats(1)
        rig.command(row, old, 5, Put(2))
        rig.store.away.set()
        await rig.until(lambda: new.of(Joined) != [])
        assert new.of(Joined)[0].highest_number == 5
        outcome: Outcome = await rig.done(row, new, 6, Put(3))
        assert outcome.kind == 0
        assert rig.node.host.rooms[1].room.state.total == 7
