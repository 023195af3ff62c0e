"""Who comes back after a crash: the ring of frames is filled again by replay."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from gameserver.runtime import recovery, ring
from protocol.messages import Full, Joined
from tests.runtime.pots import Put
from tests.runtime.rig import Eyes, FaultyStore, Rig, node_running
from tests.virtual import virtual

ANN, BOB, EVE = 101, 102, 103
ENTRIES = 5  # A snapshot after so many.


async def _played(store: FaultyStore, puts: int, beats: int = 2) -> tuple[Eyes, Eyes, Eyes]:
    """Play until a crash; return a player who saw it all, and two viewers who missed the end."""
    ann, bob, eve = Eyes(ANN, "ann"), Eyes(BOB, "bob"), Eyes(EVE)
    async with node_running(store, snapshot_entries=ENTRIES, crash=True) as rig:
        row = await rig.room()
        await rig.join(row, ann)
        await rig.join(row, bob)
        await rig.join(row, eve, watch=True)
        await rig.done(row, ann, 1, Put(1))
        bob.is_slow = eve.is_slow = True  # From here on they see nothing.
        for number in range(2, puts + 2):
            rig.command(row, bob, number, Put(1))
            await rig.done(row, ann, number, Put(1))
            await rig.beats(beats)
        await rig.beats(10)
    bob.is_slow = eve.is_slow = False
    return ann, bob, eve


async def _back(rig: Rig, eyes: Eyes, *, watch: bool = False) -> Joined:
    row = await rig.store.room(1)
    assert row is not None
    await rig.join(row, eyes, watch=watch, closed_tick=eyes.closed_tick(1))
    joined = eyes.of(Joined)[-1]
    assert isinstance(joined, Joined)
    return joined


@virtual
async def test_after_a_crash_right_after_a_snapshot_nobody_misses_a_delta() -> None:
    store = FaultyStore()
    _, bob, eve = await _played(store, 14)
    newest = (await store.snapshots(1))[0]
    assert newest.tick > bob.closed_tick(1)  # What they missed is not in the replay of recovery.
    async with node_running(store, "n2") as rig:
        row = await rig.room()
        assert (await _back(rig, bob)).resume == 1
        assert (await _back(rig, eve, watch=True)).resume == 1
        assert rig.node.metrics.rings_refilled_total == 1
        assert [one.number for one in bob.outcomes()] == list(range(2, 16))
        assert (len(bob.of(Full)), len(eve.of(Full))) == (1, 1)
        await rig.done(row, bob, 16, Put(3))
        await rig.beats()
        rig.check_views(row, bob, eve)


@virtual
async def test_a_young_room_is_replayed_from_its_first_entry() -> None:
    store = FaultyStore()
    _, bob, _ = await _played(store, 3)
    assert len(await store.snapshots(1)) == 1
    async with node_running(store, "n2") as rig:
        row = await rig.room()
        assert (await _back(rig, bob)).resume == 1
        rig.check_views(row, bob)


@virtual
async def test_who_was_away_longer_than_the_ring_gets_the_full_state_and_the_reason() -> None:
    store = FaultyStore()
    ann, bob, eve = await _played(store, 14, beats=60)  # 42 seconds.
    async with node_running(store, "n2") as rig:
        row = await rig.room()
        joined = await _back(rig, bob)
        assert (joined.resume, joined.reason) == (0, "too long ago")
        assert rig.node.metrics.rings_refilled_total == 0
        replayed = rig.node.metrics.entries_replayed_total
        assert (await _back(rig, ann)).resume == 1
        assert rig.node.metrics.entries_replayed_total == replayed
        assert (await _back(rig, eve, watch=True)).resume == 0
        rig.check_views(row, ann, bob, eve)


@virtual
async def test_whoever_is_within_the_rings_length_is_helped_by_one_replay() -> None:
    """The replay reaches back as far as the ring, though the first to ask had missed little."""
    store = FaultyStore()
    _, bob, eve = await _played(store, 24, beats=18)
    early = Eyes(EVE + 1)
    async with node_running(store, "n2") as rig:
        row = await rig.room()
        await rig.join(row, early, watch=True)
        room = rig.node.host.rooms[1]
        floor_tick = room.ring.floor_tick
        late_tick = floor_tick - 1
        await rig.join(row, Eyes(EVE + 2), watch=True, closed_tick=late_tick)
        assert rig.node.metrics.rings_refilled_total == 1
        assert room.ring.floor_tick <= max(room.room.entry_tick - 600, 0)
        assert (await _back(rig, bob)).resume == 1
        assert (await _back(rig, eve, watch=True)).resume == 1
        assert rig.node.metrics.rings_refilled_total == 1
        rig.check_views(row, bob, eve)


@virtual
async def test_without_a_sound_snapshot_or_journal_the_full_state_is_sent() -> None:
    store = FaultyStore()
    _, bob, eve = await _played(store, 14)
    for row_number in (0, 1):
        store._entries[1][row_number] = replace(store._entries[1][row_number], payload=b"damaged")
    newest = (await store.snapshots(1))[0]
    for number in [number for number in store._snapshots[1] if number != newest.number]:
        del store._snapshots[1][number]
    async with node_running(store, "n2") as rig:
        row = await rig.room()
        assert (await _back(rig, bob)).resume == 0
        assert (await _back(rig, eve, watch=True)).reason == "too long ago"
        rig.check_views(row, bob, eve)


@virtual
async def test_a_ring_that_goes_on_while_it_is_filled_has_no_hole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "REFILL_ENTRIES_PER_PAGE", 1)
    store = FaultyStore()
    _, bob, eve = await _played(store, 14)

    class Slow(FaultyStore):
        async def entries(self, room_id: int, after: int, limit: int):  # type: ignore[no-untyped-def]
            if limit == 1:
                await asyncio.sleep(0.3)
            return await super().entries(room_id, after, limit)

    store.__class__ = Slow
    async with node_running(store, "n2") as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        async with asyncio.TaskGroup() as tasks:
            coming = tasks.create_task(_back(rig, bob))
            also = tasks.create_task(_back(rig, eve, watch=True))
            for number in range(20, 30):
                await rig.done(row, ann, number, Put(1))
            assert not coming.done()
        assert (coming.result().resume, also.result().resume) == (1, 1)
        assert rig.node.metrics.rings_refilled_total == 1
        await rig.beats()
        rig.check_views(row, ann, bob, eve)


@virtual
async def test_a_ring_that_is_cut_while_it_is_filled_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = FaultyStore()
    _, bob, _ = await _played(store, 14)
    async with node_running(store, "n2") as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        monkeypatch.setattr(ring, "RING_BYTES_MAX", 100)
        for number in range(20, 30):
            await rig.done(row, ann, number, Put(1))
        joined = await _back(rig, bob)
        assert (joined.resume, rig.node.metrics.rings_refilled_total) == (0, 0)
        rig.check_views(row, ann, bob)


def _keep(kept: ring.Ring, tick: int, size: int) -> None:
    kept.keep(tick, None, {0: bytes(size)})


def test_a_ring_reaches_back_no_further_than_its_length_and_its_bytes() -> None:
    for size, ticks_max, ticks, floor_tick in (
        (1, 600, list(range(11, 31)), 10),
        (1, 12, list(range(19, 31)), 18),
        (ring.RING_BYTES_MAX // 17, 600, list(range(15, 31)), 14),
    ):
        older, newer = ring.Ring(10, ticks_max), ring.Ring(20, ticks_max)
        for tick in range(11, 21):
            _keep(older, tick, size)
        for tick in range(21, 31):
            _keep(newer, tick, size)
        assert newer.reach_back(older)
        assert not newer.reach_back(older)
        kept = newer.since(newer.floor_tick)
        assert kept is not None
        assert [frames.tick for frames in kept] == ticks
        assert newer.floor_tick == floor_tick
        assert newer.since(floor_tick - 1) is None
