"""What is durable is told while the next is committed, in order, and nothing of it twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from gameserver.engine.output import TickOutput
from gameserver.runtime import release
from gameserver.runtime.work import WATCHING, Work
from persistence.interfaces import CommitAnswer, RoomRow
from protocol.codec import delta_tail
from protocol.messages import LeftCode
from tests.runtime.pots import End, Put
from tests.runtime.rig import Eyes, FaultyStore, Rig, left_codes, node_running
from tests.virtual import virtual

ANN = 101


def slow_to_tell(rig: Rig) -> asyncio.Event:
    """Let nothing be told before the event."""
    begins = asyncio.Event()
    committer = rig.node.committer
    release = committer.release

    async def late(works: Iterable[Work], answer: CommitAnswer) -> None:
        await begins.wait()
        await release(works, answer)

    committer.release = late
    return begins


@asynccontextmanager
async def told_late() -> AsyncIterator[tuple[Rig, RoomRow, Eyes, asyncio.Event]]:
    """Give a node, its room, a player there, and the event before which nothing more is told."""
    async with node_running(FaultyStore()) as rig:
        row, ann = await rig.room(), Eyes(ANN)
        await rig.join(row, ann)
        await rig.beats()
        yield rig, row, ann, slow_to_tell(rig)


def decided(rig: Rig) -> int:
    """Return how many batches with entries were sent."""
    return sum(bool(batch.entries) for batch in rig.store.batches)


@virtual
async def test_one_batch_is_committed_while_the_one_before_is_told_and_no_more() -> None:
    async with told_late() as (rig, row, ann, begins):
        before = decided(rig)
        for number in (1, 2, 3):
            rig.command(row, ann, number, Put(number))
            await rig.beats()
        assert decided(rig) == before + 2
        assert ann.outcomes() == []
        begins.set()
        await rig.until(lambda: len(ann.outcomes()) == 3)
        assert [one.number for one in ann.outcomes()] == [1, 2, 3]
        assert decided(rig) == before + 3
        rig.check_views(row, ann)


@virtual
async def test_nothing_more_is_committed_of_a_room_whose_end_is_being_told() -> None:
    async with told_late() as (rig, row, ann, begins):
        before = decided(rig)
        rig.command(row, ann, 1, End())
        await rig.beats()
        rig.command(row, ann, 2, Put(1))
        await rig.beats()
        assert decided(rig) == before + 1
        begins.set()
        await rig.until(lambda: left_codes(ann) == [LeftCode.ENDED])
        assert [one.number for one in ann.outcomes()] == [1]
        assert decided(rig) == before + 1


@virtual
async def test_a_room_is_set_aside_after_what_it_decided_before_was_told() -> None:
    async with told_late() as (rig, row, ann, begins):
        rig.command(row, ann, 1, Put(1))
        await rig.beats()
        rig.store.poisoned_rooms.add(row.room_id)
        rig.command(row, ann, 2, Put(1))
        await rig.beats()
        assert left_codes(ann) == []
        begins.set()
        await rig.until(lambda: left_codes(ann) == [LeftCode.SET_ASIDE])
        assert [one.number for one in ann.outcomes()] == [1]


@pytest.mark.parametrize(("viewers", "turns"), [(255, 10), (256, 20), (257, 20), (512, 40)])
@virtual
async def test_sockets_get_a_turn_after_so_many_writes_however_they_fall_on_rooms(
    viewers: int, turns: int
) -> None:
    async with node_running(FaultyStore()) as rig:
        crowd = [Eyes(1000 + number) for number in range(viewers)]
        works: list[Work] = []
        for number in range(1, 21):
            row = await rig.room(number)
            await rig.join(row, crowd[0], watch=True)
            opened = rig.node.host.rooms[number]
            for one in crowd[1:]:
                rig.node.host.audience.enter(opened, one, WATCHING)
            tick = opened.ring.newest_tick + 1
            works.append(
                Work(opened, TickOutput(number, tick, shared=delta_tail(tick, 1, b"\x90")))
            )
        counted = 0

        async def count() -> None:
            nonlocal counted
            while True:
                await asyncio.sleep(0)
                counted += 1

        async with asyncio.TaskGroup() as tasks:
            counting = tasks.create_task(count())
            for some in release.in_turns(works):
                await rig.node.host.releaser.release(some, CommitAnswer())
            counting.cancel()
        assert counted >= turns - 1, "it may be about to count one more"


@virtual
async def test_what_is_durable_is_told_before_a_drain_ends() -> None:
    async with told_late() as (rig, row, ann, begins):
        rig.command(row, ann, 1, Put(1))
        await rig.beats(2)
        asyncio.get_running_loop().call_later(0.3, begins.set)
    assert [one.number for one in ann.outcomes()] == [1]
