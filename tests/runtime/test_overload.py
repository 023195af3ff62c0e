"""When newcomers must wait because there is too much to do, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from gameserver.runtime.metrics import Metrics
from gameserver.runtime.overload import TURN_LAST_NS, Overload
from gameserver.runtime.slots import SLOTS
from persistence.interfaces import Batch, CommitAnswer
from tests.runtime.pots import Put
from tests.runtime.rig import Eyes, FaultyStore, VirtualClock, node_running
from tests.runtime.test_slots import Beat
from tests.virtual import spend_ms, virtual


@pytest.mark.parametrize("factor", [1.1, 2.0, 20.0])
@virtual
async def test_too_much_to_do_is_noticed_and_forgotten_within_seconds(factor: float) -> None:
    async with Beat([10.0 * factor] * SLOTS) as beat:
        await asyncio.sleep(5.0)
        assert "ticks are late" in beat.overload.reason
        assert (beat.metrics.overloaded, beat.metrics.overloads_total) == (1, 1)
        beat.costs_ms = [5.0] * SLOTS
        await asyncio.sleep(3.0)
    assert not beat.overload.is_on
    assert beat.overload.reason == ""
    assert (beat.metrics.overloaded, beat.metrics.overloads_total) == (0, 1)


@virtual
async def test_it_is_noticed_before_the_beat_has_stretched_for_long() -> None:
    async with Beat([10.5] * SLOTS) as beat:
        while not beat.overload.is_on:  # noqa: ASYNC110  Virtual time costs nothing.
            await asyncio.sleep(0.1)
    assert beat.metrics.slots_skipped_total <= 50 * SLOTS
    assert beat.metrics.beat_ms < 60.0


@virtual
async def test_a_busy_beat_and_a_standstill_are_no_overload() -> None:
    async with Beat([1.0, 1.0, 45.0, 1.0, 0.5]) as beat:  # Uneven, and all of it fits.
        await asyncio.sleep(20.0)
        spend_ms(10_000.0)
        await asyncio.sleep(20.0)
    assert beat.metrics.overloads_total == 0


@virtual
async def test_it_does_not_come_and_go_with_every_slot() -> None:
    async with Beat([10.2] * SLOTS) as beat:
        await asyncio.sleep(60.0)
    assert beat.metrics.overloads_total == 1


@virtual
async def test_commits_that_keep_rooms_waiting_are_an_overload_too() -> None:
    class SlowStore(FaultyStore):
        seconds = 0.3

        async def commit(self, batch: Batch) -> CommitAnswer:
            await asyncio.sleep(self.seconds)
            return await super().commit(batch)

    store = SlowStore()
    async with node_running(store) as rig:
        row = await rig.room()
        ann = Eyes(101)
        await rig.join(row, ann)
        for number in range(1, 41):
            rig.command(row, ann, number, Put(1))
            await asyncio.sleep(0.1)
        assert rig.node.unready().startswith("overloaded: commits are late, a room ticks every ")
        assert rig.node.host.is_overloaded
        store.seconds = 0.0
        await asyncio.sleep(4.0)
        assert rig.node.unready() == ""
        assert {one.number for one in ann.outcomes()} == set(range(1, 41)), "nothing is lost"


@virtual
async def test_those_who_are_turned_away_come_again_one_after_the_other() -> None:
    metrics = Metrics()
    overload = Overload(VirtualClock(), metrics)
    waits_ms = [overload.turned_away() for _ in range(1_000)]
    assert waits_ms == sorted(set(waits_ms))
    assert waits_ms[0] >= 1_000
    assert metrics.turned_away_total == 1_000
    await asyncio.sleep(60.0)
    assert overload.turned_away() == waits_ms[0], "nobody waits for those of then"
    longest_ms = max(overload.turned_away() for _ in range(20_000))
    assert longest_ms <= TURN_LAST_NS // 1_000_000


@virtual
async def test_what_takes_time_before_the_first_beat_is_no_late_beat() -> None:
    metrics = Metrics()
    overload = Overload(VirtualClock(), metrics)
    spend_ms(4_000.0)  # Rooms are recovered.
    overload.see_beat()
    assert (metrics.beat_ms, metrics.late_ms) == (50.0, 0)
