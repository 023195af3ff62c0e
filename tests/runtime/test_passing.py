"""Shards on their way from one node to another, when storage does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from persistence.interfaces import INTEGER_MAX, SnapshotRow, StorageUnavailable
from persistence.ownership import ShardMark
from tests.runtime.cluster_rig import SHARDS, Member, world_running
from tests.runtime.pots import Put
from tests.runtime.rig import Eyes, room_row
from tests.virtual import virtual


@virtual
async def test_a_shard_whose_passing_was_not_answered_can_be_passed_to_somebody_else() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await first.rig.until(lambda: len(first.owned) == SHARDS)
        passing = world.store.pass_shards

        async def pass_unanswered(node: str, to: str, marks: Sequence[ShardMark]) -> frozenset[int]:
            passed = await passing(node, to, marks)
            if to == "b":
                raise StorageUnavailable("the answer was lost")
            return passed

        world.store.pass_shards = pass_unanswered  # type: ignore[method-assign]
        await world.start("b")
        await asyncio.sleep(2)
        assert "b" in {row.node for row in await world.store.shard_owners()}
        assert len(first.owned) == SHARDS
        world.kill("b")
        third = await world.start("c")
        await asyncio.sleep(3)
        first.cluster.drain()
        async with asyncio.timeout(3):
            await first.cluster.rid.wait()
        assert len(third.owned) == SHARDS
        assert third.rig.node.metrics.takeovers_total["takeover"] == 0, "all was handed over"


async def _played(member: Member) -> Eyes:
    """Let somebody play in room 1."""
    row = await member.rig.store.create_room(room_row(1))
    assert row is not None
    await member.rig.until(lambda: len(member.owned) == SHARDS)
    ann = Eyes(101)
    assert await member.rig.join(row, ann) is None
    assert (await member.rig.done(row, ann, 1, Put(1))).accepted
    return ann


async def _is_stored_whole(member: Member) -> bool:
    stored = await member.rig.store.snapshots(1)
    return bool(stored) and stored[0].number == member.rig.node.host.rooms[1].room.entry_number


@virtual
async def test_rooms_that_could_not_be_stored_whole_are_not_at_rest_and_are_stored_again() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await _played(first)
        saving = world.store.save_snapshots

        async def fail(*_: object) -> None:
            raise StorageUnavailable("away")

        world.store.save_snapshots = fail  # type: ignore[method-assign, assignment]
        handover = first.rig.node.handover
        assert not await handover.rest({1})
        handover.go_on({1})
        world.store.save_snapshots = saving  # type: ignore[method-assign]
        assert await handover.rest({1})
        assert await _is_stored_whole(first)
        handover.go_on({1})


@virtual
async def test_rooms_that_are_being_stored_already_are_at_rest_when_that_is_done() -> None:
    async with world_running() as world:
        first = await world.start("a")
        first.rig.node._snapshots.entries_between = 1
        saving = world.store.save_snapshots

        latest = 0

        async def save_slowly(
            rows: Sequence[SnapshotRow], marks: Sequence[ShardMark], keep_ticks: int
        ) -> None:
            nonlocal latest
            latest = rows[-1].number
            await asyncio.sleep(0.3)
            await saving(rows, marks, keep_ticks)

        world.store.save_snapshots = save_slowly  # type: ignore[method-assign]
        await _played(first)
        room = first.rig.node.host.rooms[1].room
        await first.rig.until(lambda: latest == room.entry_number)
        handover = first.rig.node.handover
        assert await handover.rest({1})
        assert await _is_stored_whole(first)
        handover.go_on({1})


@virtual
async def test_who_has_newer_rules_is_given_no_room_that_was_not_opened_yet() -> None:
    async with world_running() as world:
        assert await world.store.create_room(room_row(1)) is not None
        reading, can_read = world.store.snapshots, asyncio.Event()

        async def read_later(
            room_id: int, until_tick: int = INTEGER_MAX
        ) -> tuple[SnapshotRow, ...]:
            await can_read.wait()
            return await reading(room_id, until_tick)

        world.store.snapshots = read_later  # type: ignore[method-assign]
        older = await world.start("a", rules_version=1)
        await older.rig.until(lambda: len(older.owned) == SHARDS)
        newer = await world.start("b", rules_version=2)
        older.cluster.drain()
        await asyncio.sleep(3)
        assert len(older.owned) == SHARDS, "what it has played would have to be done again"
        can_read.set()
        async with asyncio.timeout(3):
            await older.cluster.rid.wait()
        assert len(newer.owned) == SHARDS


@virtual
async def test_a_room_that_waits_for_a_lock_keeps_no_other_shard_from_being_given() -> None:
    async with world_running() as world:
        first = await world.start("a")
        ann = await _played(first)
        row = await world.store.room(1)
        assert row is not None
        world.store.busy_rooms = {1}
        first.rig.command(row, ann, 2, Put(1))
        await first.rig.beats(1)  # It may not be known yet when all shards are to come to rest.
        second = await world.start("b")
        first.cluster.drain()
        await asyncio.sleep(5)
        assert first.owned == {1}
        assert len(second.owned) == SHARDS - 1
        world.store.busy_rooms = set()
        async with asyncio.timeout(5):
            await first.cluster.rid.wait()


@virtual
async def test_a_room_that_cannot_be_stored_keeps_no_other_shard_from_being_given() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await _played(first)
        saving = world.store.save_snapshots

        async def fail_for_one(
            rows: Sequence[SnapshotRow], marks: Sequence[ShardMark], keep_ticks: int
        ) -> None:
            if 1 in {row.room_id for row in rows}:
                raise StorageUnavailable("it is too much")
            await saving(rows, marks, keep_ticks)

        world.store.save_snapshots = fail_for_one  # type: ignore[method-assign]
        second = await world.start("b")
        first.cluster.drain()
        await asyncio.sleep(5)
        assert first.owned == {1}
        assert len(second.owned) == SHARDS - 1


@virtual
async def test_a_directory_that_forgets_everybody_ends_no_drain_before_all_is_given() -> None:
    async with world_running() as world:
        first = await world.start("a")
        second = await world.start("b")
        await world.settled()
        passing, can_pass = world.store.pass_shards, asyncio.Event()

        async def pass_later(node: str, to: str, marks: Sequence[ShardMark]) -> frozenset[int]:
            await can_pass.wait()
            return await passing(node, to, marks)

        world.store.pass_shards = pass_later  # type: ignore[method-assign]
        first.cluster.drain()
        await asyncio.sleep(0.1)
        world.shared.wipe()
        second.directory.is_away = True  # It beats a moment later than the one that goes.
        await first.rig.until(lambda: not first.cluster.view.leases.keys() - first.owned)
        second.directory.is_away = False
        can_pass.set()
        async with asyncio.timeout(3):
            await first.cluster.rid.wait()
        assert not first.owned
        await second.rig.until(lambda: len(second.owned) == SHARDS, 1)
        assert second.rig.node.metrics.takeovers_total["takeover"] == 0, "all was handed over"
