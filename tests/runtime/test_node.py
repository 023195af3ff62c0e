"""Rooms in time: what is told when, to whom, and what becomes of rooms when things go wrong."""

from __future__ import annotations

import asyncio

import pytest

from gameserver.runtime import ring
from gameserver.runtime.opening import JoinError
from persistence.interfaces import Hold, RoomStatus, ShardMark, SnapshotRow
from protocol.messages import (
    DeferralCode,
    Deferred,
    Delta,
    Full,
    Invalid,
    InvalidCode,
    Joined,
    LeftCode,
    Private,
    Reply,
    ReplyCode,
    Roster,
)
from protocol.view import GAME_RECORD
from tests.runtime.pots import Ask, End, Pots, Put, Ring, Stake
from tests.runtime.rig import Eyes, FaultyStore, left_codes, node_running
from tests.virtual import virtual

TOTAL, RINGS = 1, 3
ANN, BOB = 101, 102


@virtual
async def test_a_command_comes_back_as_an_outcome_and_a_delta_to_all() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, bob, eve = Eyes(ANN, "ann"), Eyes(BOB, "bob"), Eyes(103)
        await rig.join(row, ann)
        await rig.join(row, bob)
        await rig.join(row, eve, watch=True)
        outcome = await rig.done(row, ann, 1, Put(3))
        assert (outcome.number, outcome.kind) == (1, 0)
        refused = await rig.done(row, bob, 1, Put(11))
        assert (refused.kind, refused.name, refused.field) == (1, "TOO_MUCH", "chips")
        await rig.beats()
        assert [eyes.views[1].value(GAME_RECORD, TOTAL) for eyes in (ann, bob, eve)] == [3] * 3
        rig.check_views(row, ann, bob, eve)
        assert eve.of(Private) == []
        assert [(one.seat, one.name) for one in bob.of(Roster)[-1].sitters] == [
            (0, "ann"),
            (1, "bob"),
        ]


@virtual
async def test_nothing_is_told_before_it_is_durable() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, eve = Eyes(ANN), Eyes(103)
        await rig.join(row, ann)
        await rig.join(row, eve, watch=True)
        await rig.beats()
        rig.store.away.clear()
        told = len(ann.messages), len(eve.messages)
        rig.command(row, ann, 1, Put(3))
        late = Eyes(104)
        await rig.join(row, late, watch=True)
        await rig.beats(20)
        assert (len(ann.messages), len(eve.messages)) == told
        assert late.messages == []
        rig.store.away.set()
        await rig.until(lambda: len(ann.outcomes()) == 1)
        await rig.until(lambda: late.of(Full) != [])
        rig.check_views(row, ann, eve, late)


@virtual
async def test_a_lost_reply_is_asked_for_again_under_the_same_batch_id() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.store.create_person(ANN, "ann", 1000)
        rig.store.replies_lost = 2
        outcome = await rig.done(row, ann, 1, Stake(400))
        assert outcome.kind == 0
        sent = [batch.batch_id for batch in rig.store.batches if batch.holds]
        assert len(sent) == 3
        assert len(set(sent)) == 1
        assert await rig.store.balance(ANN) == 600
        assert len(ann.outcomes()) == 1


@virtual
async def test_a_refused_hold_is_rolled_back_and_the_player_is_told() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.store.create_person(ANN, "ann", 1000)
        await rig.join(row, ann)
        granted = await rig.done(row, ann, 1, Stake(700))
        refused = await rig.done(row, ann, 2, Stake(700))
        assert granted.kind == 0
        assert (refused.kind, refused.name) == (1, "INSUFFICIENT_FUNDS")
        await rig.beats()
        room = rig.node.host.rooms[1].room
        assert room.state.pots[0].staked == 700
        assert not room.waits_for_verdicts()
        again = await rig.done(row, ann, 2, Stake(700))
        assert again == refused
        assert len([hold for batch in rig.store.batches for hold in batch.holds]) == 2
        rig.check_views(row, ann)


@virtual
async def test_a_repeat_gets_the_same_outcome_and_no_second_effect() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        first = await rig.done(row, ann, 1, Put(3))
        again = await rig.done(row, ann, 1, Put(3))
        await rig.until(lambda: len(ann.outcomes()) == 2)
        assert again == first
        other = Put(4)
        rig.command(row, ann, 1, other)
        await rig.until(lambda: len(ann.outcomes()) == 3)
        assert ann.outcomes()[-1].name == "NUMBER_REUSED"
        assert rig.node.host.rooms[1].room.state.total == 3


@virtual
async def test_a_poisoned_room_is_set_aside_and_the_others_are_committed() -> None:
    async with node_running(FaultyStore()) as rig:
        rows = [await rig.room(number) for number in range(1, 13)]
        players = [Eyes(100 + row.room_id) for row in rows]
        for row, eyes in zip(rows, players, strict=True):
            await rig.join(row, eyes)
        rig.store.poisoned_rooms.add(6)
        for row, eyes in zip(rows, players, strict=True):
            rig.command(row, eyes, 1, Put(2))
        await rig.beats(10)
        for row, eyes in zip(rows, players, strict=True):
            if row.room_id == 6:
                assert eyes.outcomes() == []
                assert left_codes(eyes) == [LeftCode.SET_ASIDE]
            else:
                assert [outcome.kind for outcome in eyes.outcomes()] == [0]
        kept = await rig.store.room(6)
        assert kept is not None
        assert kept.status is RoomStatus.SET_ASIDE
        assert "never be kept" in kept.note
        error = await rig.join(rows[5], Eyes(1))
        assert error == JoinError(ReplyCode.ROOM_SET_ASIDE)


@virtual
async def test_a_room_whose_timer_fails_is_set_aside_and_the_others_go_on() -> None:
    async with node_running(FaultyStore()) as rig:
        rows = [await rig.room(1), await rig.room(6)]  # Both of slot 1.
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(rows[0], ann)
        await rig.join(rows[1], bob)
        await rig.done(rows[0], ann, 1, Ring(3, breaks=True))
        await rig.done(rows[1], bob, 1, Ring(3))
        await rig.beats(8)
        assert left_codes(ann) == [LeftCode.SET_ASIDE]
        assert bob.views[6].value(GAME_RECORD, RINGS) == 1
        kept = await rig.store.room(1)
        assert kept is not None
        assert kept.status is RoomStatus.SET_ASIDE


@virtual
async def test_a_game_that_cannot_choose_what_a_room_asks_for_breaks_that_room_alone() -> None:
    async with node_running(FaultyStore()) as rig:
        rows = [await rig.room(number) for number in (1, 2)]
        players = [Eyes(ANN), Eyes(BOB)]
        for row, eyes in zip(rows, players, strict=True):
            await rig.join(row, eyes)
        await rig.done(rows[1], players[1], 1, Ask("the sun"))
        rig.command(rows[0], players[0], 1, Ask("moon"))
        await rig.until(lambda: left_codes(players[0]) == [LeftCode.SET_ASIDE])
        assert await rig.join(rows[0], Eyes(103)) == JoinError(ReplyCode.ROOM_SET_ASIDE)
        await rig.beats()
        assert rig.node.host.rooms[2].room.state.total == 1
        kept = await rig.store.room(1)
        assert kept is not None
        assert kept.status is RoomStatus.SET_ASIDE
        assert "nobody has it" in kept.note


@virtual
async def test_a_room_that_is_about_to_be_set_aside_is_not_opened_again() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        rig.store.is_unable_to_set_aside = True
        await rig.done(row, ann, 1, Ring(ticks=2, breaks=True))
        await rig.until(lambda: left_codes(ann) == [LeftCode.SET_ASIDE])
        await rig.beats()
        assert await rig.join(row, ann) == JoinError(ReplyCode.ROOM_SET_ASIDE)
        rig.store.is_unable_to_set_aside = False
        await asyncio.sleep(2)
        kept = await rig.store.room(1)
        assert kept is not None
        assert kept.status is RoomStatus.SET_ASIDE


@virtual
async def test_rooms_that_could_not_be_opened_at_the_start_are_opened_later() -> None:
    store = FaultyStore()
    async with node_running(store) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.done(row, ann, 1, Ring(ticks=20))
    store.snapshots_fail = 3
    async with node_running(store, "n2") as rig:
        await rig.until(lambda: 1 in rig.node.host.rooms)
        assert store.snapshots_fail == 0
        await rig.until(lambda: rig.node.host.rooms[1].room.state.rings == 1)


@virtual
async def test_a_fenced_shard_is_dropped_and_the_others_go_on() -> None:
    async with node_running(FaultyStore()) as rig:
        rows = [await rig.room(1), await rig.room(2)]
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(rows[0], ann)
        await rig.join(rows[1], bob)
        await rig.store.take_shards("other", [rows[0].shard])
        rig.command(rows[0], ann, 1, Put(1))
        rig.command(rows[1], bob, 1, Put(1))
        await rig.beats()
        assert ann.outcomes() == []
        assert left_codes(ann) == [LeftCode.REMOVED]
        assert len(bob.outcomes()) == 1
        error = await rig.join(rows[0], Eyes(1))
        assert error is not None
        assert error.code is ReplyCode.UNAVAILABLE
        assert rig.node.metrics.shards_fenced_total == 1


@virtual
async def test_while_storage_is_away_commands_are_deferred_and_time_stands_still() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.done(row, ann, 1, Ring(60))
        room = rig.node.host.rooms[1].room
        rings_tick = room.state.rings_tick
        rig.store.away.clear()
        rig.command(row, ann, 2, Put(1))  # A tick takes it; its outcome has to wait.
        await rig.beats(4)
        rig.command(row, ann, 3, Put(1))
        await asyncio.sleep(2.0)
        rig.command(row, ann, 4, Put(1))
        deferred = {one.number: one.code for one in ann.of(Deferred)}
        assert deferred.keys() >= {4}
        assert set(deferred.values()) == {DeferralCode.UNAVAILABLE}
        assert rig.node.unready() == "storage is away"
        await asyncio.sleep(30.0)
        assert room.state.rings == 0
        rig.store.away.set()
        await rig.until(lambda: any(one.number == 2 for one in ann.outcomes()))
        assert rig.node.unready() == ""
        assert room.now < rings_tick
        assert {one.number for one in ann.outcomes()} | deferred.keys() >= {1, 2, 3, 4}
        assert not {one.number for one in ann.outcomes()} & deferred.keys()
        await rig.done(row, ann, 4, Put(1))
        await rig.until(lambda: room.state.rings == 1)
        assert room.now >= rings_tick
        await rig.beats()
        rig.check_views(row, ann)


@virtual
async def test_a_crash_loses_nothing_that_was_told_and_resuming_leaves_no_gap() -> None:
    store = FaultyStore()
    ann, eve = Eyes(ANN, "ann"), Eyes(103)
    async with node_running(store, crash=True) as rig:
        row = await rig.room()
        await store.create_person(ANN, "ann", 1000)
        await rig.join(row, ann)
        await rig.join(row, eve, watch=True)
        for number in range(1, 6):
            assert (await rig.done(row, ann, number, Put(1))).kind == 0
        assert (await rig.done(row, ann, 6, Stake(300))).kind == 0
        closed_tick = eve.closed_tick(1)
        eve.is_slow = True
        assert (await rig.done(row, ann, 7, Put(1))).kind == 0
    async with node_running(store, "n2") as rig:
        eve.is_slow = False
        await rig.join(row, ann, closed_tick=ann.closed_tick(1))
        await rig.join(row, eve, watch=True, closed_tick=closed_tick)
        assert [one.resume for one in ann.of(Joined)] == [0, 1]
        assert [one.resume for one in eve.of(Joined)] == [0, 1]
        assert ann.of(Joined)[-1].highest_number == 7
        assert len(eve.of(Full)) == 1
        room = rig.node.host.rooms[1].room
        assert room.state.total == 6
        assert room.state.pots[0].staked == 300
        assert (await rig.done(row, ann, 7, Put(1))).tick < room.now
        assert room.state.total == 6
        await rig.beats()
        rig.check_views(row, ann, eve)
        assert await store.balance(ANN) == 700


@virtual
async def test_a_verdict_that_the_crash_cut_off_is_fetched_again() -> None:
    store = FaultyStore()
    ann = Eyes(ANN)
    async with node_running(store, crash=True) as rig:
        row = await rig.room()
        await store.create_person(ANN, "ann", 1000)
        await rig.join(row, ann)
        rig.store.replies_lost = 1_000  # The commit takes place; nobody hears of it.
        rig.command(row, ann, 1, Stake(700))
        rig.command(row, ann, 2, Stake(700))
        await rig.beats(10)
        assert ann.outcomes() == []
    store.replies_lost = 0
    async with node_running(store, "n2") as rig:
        again = Eyes(ANN)
        await rig.join(row, again)
        await rig.beats()
        assert (await rig.done(row, again, 1, Stake(700))).kind == 0
        assert (await rig.done(row, again, 2, Stake(700))).name == "INSUFFICIENT_FUNDS"
        assert rig.node.host.rooms[1].room.state.pots[0].staked == 700
        assert await store.balance(ANN) == 300


@virtual
async def test_a_room_comes_back_from_a_snapshot_and_the_entries_after_it() -> None:
    store = FaultyStore()
    ann = Eyes(ANN)
    async with node_running(store, snapshot_entries=5, crash=True) as rig:
        row = await rig.room()
        await rig.join(row, ann)
        for number in range(1, 13):
            await rig.done(row, ann, number, Put(1))
        await rig.beats()
    snapshots = await store.snapshots(1)
    assert len(snapshots) == 2
    async with node_running(store, "n2") as rig:
        await rig.join(row, Eyes(103), watch=True)
        assert rig.node.host.rooms[1].room.state.total == 12
        assert 0 < rig.node.metrics.entries_replayed_total < 12


@virtual
async def test_a_damaged_snapshot_falls_back_to_an_older_one() -> None:
    store = FaultyStore()
    async with node_running(store, snapshot_entries=5, crash=True) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        for number in range(1, 13):
            await rig.done(row, ann, number, Put(1))
        await rig.beats()
    newest = (await store.snapshots(1))[0]
    states = await store.take_shards("vandal", [row.shard])
    mark = ShardMark(row.shard, states[0].epoch, 0, states[0].head, states[0].head)
    damaged = SnapshotRow(
        newest.room_id,
        newest.number,
        newest.tick,
        newest.rules_version,
        newest.state_hash,
        newest.payload[:-1] + bytes([newest.payload[-1] ^ 1]),
    )
    await store.save_snapshots([damaged], [mark], 0)
    async with node_running(store, "n2") as rig:
        await rig.join(row, Eyes(103), watch=True)
        assert rig.node.host.rooms[1].room.state.total == 12
        assert rig.node.metrics.entries_replayed_total > 12 - newest.number


@virtual
async def test_a_newer_connection_of_a_player_replaces_the_older() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        old, new = Eyes(ANN), Eyes(ANN)
        await rig.join(row, old)
        await rig.join(row, new)
        assert left_codes(old) == [LeftCode.REPLACED]
        assert new.of(Joined)[0].seat == 0
        rig.command(row, old, 1, Put(1))
        assert old.of(Invalid)[-1].code == InvalidCode.NOT_IN_ROOM
        rig.node.host.lost(old)
        await rig.beats()
        assert rig.node.host.rooms[1].room.seats[0].present
        await rig.done(row, new, 1, Put(1))


@virtual
async def test_a_lost_connection_keeps_the_seat_and_a_player_who_leaves_gives_it_up() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(row, ann)
        await rig.join(row, bob)
        rig.node.host.lost(ann)
        await rig.beats()
        room = rig.node.host.rooms[1].room
        assert not room.seats[0].present
        assert rig.node.host.leave(1, bob, 77)
        await rig.until(lambda: left_codes(bob) == [LeftCode.LEFT])
        assert [one.request for one in bob.of(Reply)] == [77]
        assert 1 not in room.seats
        back = Eyes(ANN)
        await rig.join(row, back)
        assert back.of(Joined)[0].seat == 0
        assert [seat.present for seat in room.seats] == [True]
        rig.check_views(row, back)


@virtual
async def test_a_viewer_that_goes_while_its_seat_is_on_the_way_leaves_nobody_behind() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        eve = Eyes(103)
        await rig.join(row, eve, watch=True)
        rig.store.away.clear()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.beats(2)
        rig.node.host.lost(ann)
        rig.store.away.set()
        await rig.until(lambda: ANN in rig.node.host.rooms[1].room.seat_by_account)
        await rig.beats(20)
        room = rig.node.host.rooms[1].room
        assert not room.seats[0].present
        assert ann.messages == []
        rig.check_views(row, eve)


@virtual
async def test_a_full_room_and_an_ended_room_take_nobody_in() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        players = [Eyes(100 + number) for number in range(4)]
        for eyes in players:
            await rig.join(row, eyes)
        fifth = Eyes(200)
        await rig.node.host.join(row, fifth, 9)
        await rig.until(lambda: fifth.of(Reply) != [])
        assert fifth.of(Reply)[0].code == ReplyCode.ROOM_FULL
        await rig.done(row, players[0], 1, End())
        await rig.beats()
        assert [left_codes(eyes) for eyes in players] == [[LeftCode.ENDED]] * 4
        kept = await rig.store.room(1)
        assert kept is not None
        assert kept.status is RoomStatus.ENDED
        assert await rig.join(row, fifth) == JoinError(ReplyCode.ROOM_ENDED)


@virtual
async def test_a_slow_viewer_catches_up_with_one_merged_delta() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, eve = Eyes(ANN), Eyes(103)
        await rig.join(row, ann)
        await rig.join(row, eve, watch=True)
        await rig.beats()
        closed_tick = eve.closed_tick(1)
        ann_closed_tick = ann.closed_tick(1)
        ann.is_slow = eve.is_slow = True
        for number in range(1, 6):
            rig.command(row, ann, number, Put(number))
            await rig.beats(2)
        ann.is_slow = eve.is_slow = False
        seen = len(eve.of(Delta))
        rig.node.host.catch_up(1, eve, closed_tick)
        rig.node.host.catch_up(1, ann, ann_closed_tick)
        await rig.beats()
        assert len(eve.of(Delta)) == seen + 1
        assert len(eve.of(Full)) == 1
        assert [one.number for one in ann.outcomes()] == [1, 2, 3, 4, 5]
        rig.check_views(row, ann, eve)
        rig.node.host.resync(1, eve)
        await rig.beats()
        assert len(eve.of(Full)) == 2
        rig.check_views(row, eve)


@virtual
async def test_who_catches_up_by_a_full_state_misses_no_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ring, "RING_BYTES_MAX", 100)
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.done(row, ann, 1, Put(1))
        closed_tick = ann.closed_tick(1)
        ann.is_slow = True
        for number in range(2, 7):
            rig.command(row, ann, number, Put(number * 3))
            await rig.beats(2)
        ann.is_slow = False
        rig.node.host.catch_up(1, ann, closed_tick)
        await rig.beats()
        assert len(ann.of(Full)) == 2
        told = [(one.number, one.name) for one in ann.outcomes()]
        assert told == [(1, ""), (2, ""), (3, ""), *((n, "TOO_MUCH") for n in (4, 5, 6))]
        rig.check_views(row, ann)


@virtual
async def test_who_was_away_too_long_gets_the_full_state_and_the_reason() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, eve = Eyes(ANN), Eyes(103)
        await rig.join(row, ann)
        await rig.join(row, eve, watch=True)
        closed_tick = eve.closed_tick(1)
        rig.node.host.lost(eve)
        await rig.done(row, ann, 1, Put(1))
        await asyncio.sleep(31)
        await rig.done(row, ann, 2, Put(1))
        await rig.join(row, eve, watch=True, closed_tick=closed_tick)
        assert (eve.of(Joined)[-1].resume, eve.of(Joined)[-1].reason) == (0, "too long ago")
        await rig.join(row, eve, watch=True, closed_tick=10**9)
        assert eve.of(Joined)[-1].reason == "that tick has not been"
        rig.check_views(row, eve)


@virtual
async def test_nobody_resumes_the_seat_of_another() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(row, bob, watch=True)
        await rig.join(row, ann)
        await rig.done(row, ann, 1, Put(7))
        closed_tick = bob.closed_tick(1)
        rig.node.host.leave(1, ann, 5)
        await rig.beats()
        await rig.join(row, bob, closed_tick=closed_tick)
        assert bob.of(Joined)[-1].seat == 0
        assert bob.of(Joined)[-1].resume == 0
        rig.check_views(row, bob)


@virtual
async def test_a_malformed_command_never_reaches_the_room() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann, eve = Eyes(ANN), Eyes(103)
        await rig.join(row, ann)
        await rig.join(row, eve, watch=True)
        host = rig.node.host
        deep = b"\x91" * 2000 + b"\x01"
        bodies = (b"", b"\xc1", b"\x92\x01\x00", b"\x92\x01\xcb" + bytes(8), b"\x91\x63", deep)
        for number, body in enumerate(bodies, start=1):
            host.command(1, ann, number, body)
        codes = [one.code for one in ann.of(Invalid)]
        malformed, unknown = InvalidCode.MALFORMED, InvalidCode.UNKNOWN_COMMAND
        assert codes == [malformed] * 4 + [unknown] * 2
        host.command(1, eve, 1, b"\x92\x01\x01")
        assert eve.of(Invalid)[-1].code == InvalidCode.NOT_SEATED
        host.command(999, ann, 1, b"\x92\x01\x01")
        assert ann.of(Invalid)[-1].code == InvalidCode.NOT_IN_ROOM
        entries = host.rooms[1].room.entry_number
        await rig.beats()
        assert host.rooms[1].room.entry_number == entries


@virtual
async def test_an_inbox_that_is_full_defers_and_loses_nothing() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        for number in range(1, 101):
            rig.command(row, ann, number, Put(1))
        deferred = [one.number for one in ann.of(Deferred)]
        assert deferred
        assert {one.code for one in ann.of(Deferred)} == {DeferralCode.BUSY}
        await rig.beats()
        answered = {one.number for one in ann.outcomes()}
        assert answered | set(deferred) == set(range(1, 101))
        assert not answered & set(deferred)
        for number in deferred[:5]:
            assert (await rig.done(row, ann, number, Put(1))).kind == 0
        assert rig.node.host.rooms[1].room.state.total == len(answered) + 5


@virtual
async def test_more_transfers_than_fit_go_into_several_batches_in_order() -> None:
    async with node_running(FaultyStore()) as rig:
        rows = [await rig.room(number) for number in range(5, 505, 5)]  # All of one slot.
        players = [Eyes(1000 + row.room_id) for row in rows]
        for row, eyes in zip(rows, players, strict=True):
            await rig.store.create_person(eyes.account, "x", 10**6)
            await rig.join(row, eyes)
        for row, eyes in zip(rows, players, strict=True):
            for number in range(1, 21):
                rig.command(row, eyes, number, Stake(number))
        await rig.until(lambda: all(len(eyes.outcomes()) == 20 for eyes in players))
        batches = [batch for batch in rig.store.batches if batch.holds]
        assert len(batches) >= 2
        assert max(len(batch.holds) for batch in batches) <= 1000
        held: list[Hold] = [hold for batch in batches for hold in batch.holds]
        assert len({hold.reference for hold in held}) == 2000


@virtual
async def test_a_watcher_of_a_quiet_room_misses_nothing_through_a_crash() -> None:
    """A full state is of an entry's tick: the clock may have come further than what survives."""
    store = FaultyStore()
    eve, ann = Eyes(103), Eyes(ANN)
    async with node_running(store, crash=True) as rig:
        row = await rig.room()
        await rig.join(row, ann)
        await asyncio.sleep(30.3)
        await rig.join(row, eve, watch=True)
        assert eve.closed_tick(1) == rig.node.host.rooms[1].room.entry_tick
    async with node_running(store, "n2") as rig:
        await rig.join(row, ann)
        await rig.done(row, ann, 1, Put(1))
        await asyncio.sleep(2)
        await rig.done(row, ann, 2, Ring(1))
        await rig.join(row, eve, watch=True, closed_tick=eve.closed_tick(1))
        assert eve.of(Joined)[-1].resume == 1
        rig.check_views(row, eve, ann)


@virtual
async def test_the_clock_of_a_quiet_shard_goes_on_through_a_crash() -> None:
    store = FaultyStore()
    ann, bob = Eyes(ANN), Eyes(BOB)
    async with node_running(store, crash=True) as rig:
        rows = [await rig.room(1), await rig.room(2)]
        await rig.join(rows[0], ann)
        await rig.join(rows[1], bob)
        await rig.done(rows[0], ann, 1, Ring(400))
        rings_tick = rig.node.host.rooms[1].room.state.rings_tick
        for number in range(1, 101):  # Ten seconds in which only another shard commits.
            rig.command(rows[1], bob, number, Put(1))
            await rig.beats(2)
    states = {state.shard: state for state in await store.take_shards("other", [1, 2])}
    assert rings_tick - 400 + 170 < states[1].clock_tick <= states[2].clock_tick


@virtual
async def test_times_that_are_no_longer_true_do_not_pile_up() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        for number in range(1, 41):
            await rig.done(row, ann, number, Ring(5000 + number))
        assert max(len(due) for due in rig.node.host._due) <= 9
        await rig.done(row, ann, 41, Ring(3))
        await rig.beats(6)
        assert ann.views[1].value(GAME_RECORD, RINGS) == 1


@virtual
async def test_a_room_is_never_replayed_under_other_rules() -> None:
    store = FaultyStore()
    async with node_running(store, crash=True) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.done(row, ann, 1, Put(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pots, "rules_version", 2)
        async with node_running(store, "n2") as rig:
            assert await rig.join(row, ann) == JoinError(ReplyCode.ROOM_SET_ASIDE)
            await rig.beats()
    kept = await store.room(1)
    assert kept is not None
    assert kept.note == (
        "after entry 0 it was played under rules 1 of pots, and this server has rules 2"
    )


@virtual
async def test_a_room_that_was_stored_whole_goes_on_under_newer_rules() -> None:
    store, ann = FaultyStore(), Eyes(ANN)
    async with node_running(store) as rig:
        row = await rig.room()
        await rig.join(row, ann)
        await rig.done(row, ann, 1, Put(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pots, "rules_version", 2)
        for name, number in (("n2", 2), ("n3", 3)):  # The second one replays what the first did.
            async with node_running(store, name, crash=True) as rig:
                assert await rig.join(row, ann) is None
                assert (await rig.done(row, ann, number, Put(1))).accepted
                assert rig.node.host.rooms[1].room.state.total == number
    async with node_running(store, "n4") as rig:  # There is no way back.
        assert await rig.join(row, ann) == JoinError(ReplyCode.ROOM_SET_ASIDE)
        await rig.beats()
    kept = await store.room(1)
    assert kept is not None
    assert kept.note == "it was played under rules 2 of pots, and this server has rules 1"


@virtual
async def test_rules_that_do_not_continue_older_ones_leave_their_rooms_alone() -> None:
    store, ann = FaultyStore(), Eyes(ANN)
    async with node_running(store) as rig:
        row = await rig.room()
        await rig.join(row, ann)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pots, "rules_version", 3)
        patch.setattr(Pots, "continues_from", 2)
        async with node_running(store, "n2") as rig:
            assert await rig.join(row, ann) == JoinError(ReplyCode.ROOM_SET_ASIDE)
            await rig.beats()


@virtual
async def test_what_a_room_asks_for_again_at_once_is_given_again() -> None:
    async with node_running(FaultyStore()) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.done(row, ann, 1, Ask("stars"))
        await rig.beats(10)
        assert ann.views[1].value(GAME_RECORD, TOTAL) == 3
        assert rig.node.host.rooms[1].asked == set()


@virtual
async def test_time_passes_in_a_room_that_was_made_and_that_nobody_came_to() -> None:
    store = FaultyStore()
    async with node_running(store) as rig:
        row = await rig.room()
        await rig.node.host.prepare(row)
        await rig.until(lambda: bool(rig.node.host.rooms[1].room.entry_number))
        assert await store.entries(1, 0, 1)
