"""What crosses on its way: seats that change hands, rooms that end, newer connections.

In most of these stories storage has no answer for a while, so that a room is ticks ahead of what
its viewers were told.
"""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gameserver.runtime.audience import WAITING_MAX
from gameserver.runtime.opening import JoinError
from gameserver.runtime.work import OpenRoom
from protocol.messages import Full, Invalid, InvalidCode, Joined, LeftCode, Reply, ReplyCode, Roster
from tests.runtime.pots import End, Put, Ring
from tests.runtime.rig import Eyes, FaultyStore, Rig, left_codes, node_running
from tests.virtual import virtual

ANN, BOB, EVE = 101, 102, 103


def opened(rig: Rig) -> OpenRoom:
    return rig.node.host.rooms[1]


async def hold_commits(rig: Rig, player: Eyes) -> None:
    """Have a commit wait for its answer, until the test lets storage come back."""
    number = 1 + opened(rig).room.windows[player.seats[1]].highest
    rig.store.away.clear()
    rig.node.host.command(1, player, number, msgspec.msgpack.encode(Put(1)))
    await rig.until(lambda: bool(rig.store.batches[-1].entries))


def names(roster: Roster) -> list[tuple[int, str]]:
    return [(sitter.seat, sitter.name) for sitter in roster.sitters]


@virtual
async def test_what_a_player_sends_after_leaving_never_counts_for_the_next_at_the_seat() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(row, ann)
        rig.store.away.clear()
        assert rig.node.host.leave(1, ann, 5)
        await rig.beats(1)
        assert 0 not in opened(rig).room.seats
        await rig.join(row, bob)
        rig.command(row, ann, 1, Put(3))
        assert not rig.node.host.leave(1, ann, 6)
        await rig.beats(1)
        assert opened(rig).room.seat_of(BOB) == 0
        rig.store.away.set()
        await rig.until(lambda: bob.of(Joined) != [])
        assert opened(rig).room.state.total == 0
        assert [message.code for message in ann.of(Invalid)] == [InvalidCode.NOT_SEATED]
        assert [message.request for message in ann.of(Reply)] == [5]
        assert left_codes(ann) == [LeftCode.LEFT]
        rig.check_views(row, bob)


@pytest.mark.parametrize("beats", [0, 1])
@virtual
async def test_a_lost_connection_does_not_empty_a_seat_that_a_newer_one_takes_over(
    beats: int,
) -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        old, new = Eyes(ANN), Eyes(ANN)
        await rig.join(row, old)
        await hold_commits(rig, old)
        await rig.join(row, new)
        await rig.beats(beats)
        rig.node.host.lost(old)
        rig.store.away.set()
        await rig.until(lambda: new.of(Joined) != [])
        await rig.beats()
        assert opened(rig).room.seats[0].present
        rig.node.host.lost(new)
        await rig.beats()
        assert not opened(rig).room.seats[0].present


@virtual
async def test_a_seat_is_empty_when_both_the_old_and_the_new_connection_are_lost() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        old, new = Eyes(ANN), Eyes(ANN)
        await rig.join(row, old)
        for first, second in ((old, new), (new, old)):
            await hold_commits(rig, old)
            await rig.join(row, new)
            await rig.beats(1)
            rig.node.host.lost(first)
            rig.node.host.lost(second)
            rig.store.away.set()
            await rig.beats(20)
            assert not opened(rig).room.seats[0].present
            await rig.join(row, old)
            assert opened(rig).room.seats[0].present


@virtual
async def test_a_player_who_only_watches_from_now_on_is_absent() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.join(row, ann, watch=True)
        await rig.beats()
        assert ann.seats[1] == -1
        assert not opened(rig).room.seats[0].present
        await rig.join(row, ann)
        assert opened(rig).room.seats[0].present
        rig.check_views(row, ann)


@virtual
async def test_who_leaves_on_one_connection_leaves_on_the_one_that_replaced_it() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        old, new, bob = Eyes(ANN), Eyes(ANN), Eyes(BOB)
        await rig.join(row, old)
        await hold_commits(rig, old)
        await rig.join(row, new)
        await rig.beats(1)
        assert rig.node.host.leave(1, old, 5)
        rig.store.away.set()
        await rig.until(lambda: old.of(Reply) != [])
        assert left_codes(old) == [LeftCode.REPLACED]
        assert left_codes(new) == [LeftCode.LEFT]
        await rig.join(row, bob)
        assert opened(rig).viewers == {bob: 0}


@virtual
async def test_whoever_waits_when_a_room_ends_is_answered() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, bob, eve = Eyes(ANN), Eyes(BOB), Eyes(EVE)
        await rig.join(row, ann)
        await rig.join(row, bob)
        rig.store.away.clear()
        rig.command(row, ann, 1, End())
        await rig.beats(1)
        await rig.node.host.join(row, eve, 7)
        assert rig.node.host.leave(1, bob, 8)
        await rig.beats(1)
        rig.store.away.set()
        await rig.until(lambda: left_codes(ann) == [LeftCode.ENDED])
        assert [(one.request, one.code) for one in eve.of(Reply)] == [(7, ReplyCode.ROOM_ENDED)]
        assert [(one.request, one.code) for one in bob.of(Reply)] == [(8, ReplyCode.ROOM_ENDED)]


@virtual
async def test_whoever_waits_when_a_room_is_set_aside_is_answered() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, eve = Eyes(ANN), Eyes(EVE)
        await rig.join(row, ann)
        await rig.done(row, ann, 1, Ring(ticks=3, breaks=True))
        rig.store.away.clear()
        rig.command(row, ann, 2, Put(1))
        await rig.beats(1)
        await rig.node.host.join(row, eve, 7)
        await rig.beats(1)
        rig.store.away.set()
        await rig.until(lambda: left_codes(ann) == [LeftCode.SET_ASIDE])
        assert [one.code for one in eve.of(Reply)] == [ReplyCode.ROOM_SET_ASIDE]


@virtual
async def test_who_sits_where_is_told_as_it_was_at_the_tick_that_is_durable() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        eve, ann, bob = Eyes(EVE, "eve"), Eyes(ANN, "ann"), Eyes(BOB, "bob")
        await rig.join(row, eve, watch=True)
        rig.store.away.clear()
        await rig.join(row, ann)
        await rig.beats(1)
        await rig.join(row, bob)
        await rig.beats(1)
        assert len(opened(rig).room.seats) == 2
        assert rig.node.host.seats(1) == (0, 4)
        assert rig.node.host.seats_claimed(1) == 2
        rig.store.away.set()
        await rig.until(lambda: bob.of(Joined) != [])
        await rig.beats()
        told = [names(roster) for roster in eve.of(Roster)]
        assert told == [[], [(0, "ann")], [(0, "ann"), (1, "bob")]]
        assert [names(roster) for roster in ann.of(Roster)] == told[1:]
        assert [names(roster) for roster in bob.of(Roster)] == told[2:]
        assert rig.node.host.seats(1) == (2, 4)


@virtual
async def test_names_are_kept_of_those_who_sit_and_of_nobody_else() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN, "ann")
        await rig.join(row, ann)
        for number in range(5):
            visitor = Eyes(200 + number, "visitor")
            await rig.join(row, visitor)
            assert rig.node.host.leave(1, visitor, 1)
            await rig.until(lambda gone=visitor: left_codes(gone) == [LeftCode.LEFT])  # type: ignore[misc]
        assert opened(rig).names == {ANN: "ann"}
        assert names(ann.of(Roster)[-1]) == [(0, "ann")]


@virtual
async def test_many_resyncs_at_once_are_answered_by_one_full_state() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        eve = Eyes(EVE)
        await rig.join(row, eve, watch=True)
        rig.node.host.catch_up(1, eve, eve.closed_tick(1))
        for _ in range(100):
            rig.node.host.resync(1, eve)
        assert len(opened(rig).joins) == 1
        await rig.beats()
        assert len(eve.of(Full)) == 2
        assert opened(rig).unanswered == {}


@virtual
async def test_who_waits_for_very_much_is_told_that_we_are_busy() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, eve = Eyes(ANN), Eyes(EVE)
        await rig.join(row, ann)
        rig.store.away.clear()
        rig.command(row, ann, 1, Put(1))
        await asyncio.sleep(1)
        answers = [
            await rig.node.host.join(row, eve, n, watch=True) for n in range(WAITING_MAX + 1)
        ]
        assert answers[:-1] == [None] * WAITING_MAX
        assert isinstance(answers[-1], JoinError)
        assert answers[-1].code == ReplyCode.BUSY
        rig.node.host.lost(eve)
        assert opened(rig).unanswered == {}
        rig.store.away.set()
        await rig.beats(20)
        assert eve.messages == []
