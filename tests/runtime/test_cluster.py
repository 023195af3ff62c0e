"""Nodes that come, go, die and are cut off: who has which shard, and what players notice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest
from structlog.testing import capture_logs

from persistence.directory import NameTaken
from persistence.interfaces import RoomRow, StorageUnavailable
from protocol.messages import Full, Joined, ReplyCode
from tests.runtime.cluster_rig import SHARDS, World, moved_to, world_running
from tests.runtime.pots import Put
from tests.runtime.rig import Eyes, room_row
from tests.virtual import virtual

ANN, BOB = 101, 102


async def _room(world: World, room_id: int) -> RoomRow:
    row = await world.store.create_room(replace(room_row(room_id), shard=room_id % SHARDS))
    assert row is not None
    return row


@virtual
async def test_one_node_takes_all_shards_at_once_and_a_second_gets_its_half_gently() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await first.rig.until(lambda: len(first.owned) == SHARDS, 0.5)
        second = await world.start("b")
        await world.settled()
        assert (len(first.owned), len(second.owned)) == (SHARDS // 2, SHARDS // 2)
        given = first.rig.node.metrics.handovers_total
        await asyncio.sleep(10)
        assert first.rig.node.metrics.handovers_total == given, "nothing moves without a reason"


@virtual
async def test_when_a_node_dies_those_with_a_link_to_it_take_its_shards_at_once() -> None:
    async with world_running() as world:
        await world.start("a")
        await world.start("b")
        await world.settled()
        world.kill("a")
        survivor = world.members["b"]
        await survivor.rig.until(lambda: len(survivor.owned) == SHARDS, 0.3)
        assert survivor.rig.node.metrics.takeovers_total["takeover"] == SHARDS // 2


@virtual
async def test_without_a_link_its_shards_are_taken_when_lease_and_heartbeat_have_lapsed() -> None:
    async with world_running() as world:
        await world.start("a")
        survivor = await world.start("b")
        await world.settled()
        survivor.links.are_cut = True
        world.kill("a")
        await asyncio.sleep(1.4)
        assert len(survivor.owned) == SHARDS // 2, "it may only be slow"
        await survivor.rig.until(lambda: len(survivor.owned) == SHARDS, 2.5)


@virtual
async def test_leases_of_what_is_no_shard_keep_nobody_from_taking_shards() -> None:
    async with world_running() as world:
        for shard in (-1, SHARDS):
            world.shared.leases[shard] = ("a", 10**9)
        first = await world.start("a")
        await first.rig.until(lambda: len(first.owned) >= SHARDS, 0.5)
        assert first.owned == set(range(SHARDS))


@virtual
async def test_who_is_cut_off_from_the_directory_alone_keeps_its_rooms() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await world.start("b")
        await world.settled()
        before = world.owners()
        first.directory.is_away = True
        await asyncio.sleep(20)
        assert world.owners() == before
        row = await _room(world, min(first.owned) + SHARDS)
        ann = Eyes(ANN)
        assert await first.rig.join(row, ann) is None
        assert (await first.rig.done(row, ann, 1, Put(1))).accepted
        first.directory.is_away = False
        await asyncio.sleep(2)
        assert world.owners() == before


@virtual
async def test_who_is_cut_off_from_storage_alone_says_so_and_others_take_over() -> None:
    async with world_running() as world:
        for name in ("a", "b", "c"):
            await world.start(name)
        await world.settled()
        lame = world.members["a"]
        shard = min(lame.owned)
        row = await _room(world, shard + SHARDS)
        ann = Eyes(ANN)
        await lame.rig.join(row, ann)
        await lame.rig.done(row, ann, 1, Put(1))
        lame.way.is_cut = True
        await lame.rig.until(lambda: bool(moved_to(ann)), 3.0)
        others = [world.members[name] for name in ("b", "c")]
        assert moved_to(ann) == [one.cluster.me.url for one in others if shard in one.owned]
        assert lame.owned == set()
        assert [one.cluster.place_of(shard) for one in others].count(None) == 1
        assert lame.cluster.me.url not in others[0].cluster.urls
        lame.way.is_cut = False
        await world.settled()
        assert lame.owned


@virtual
async def test_who_is_cut_off_from_all_but_its_players_sends_them_away_and_no_other_does() -> None:
    async with world_running() as world:
        sent: list[str] = []
        for name in ("a", "b", "c"):
            member = await world.start(name)
            member.cluster.on_cut_off = partial(sent.append, name)
        await world.settled()
        lame = world.members["a"]
        for one in world.members.values():  # They might all be cut off from storage.
            one.way.is_cut = True
        await asyncio.sleep(4)
        assert sent == [], "it is nowhere better"
        for one in world.members.values():
            one.way.is_cut = False
        await asyncio.sleep(4)
        assert sent == []
        lame.way.is_cut = lame.directory.is_away = True
        await asyncio.sleep(4)
        assert sent == [], "it hears the others, who tell it what they take"
        lame.links.are_cut = True
        await asyncio.sleep(1)
        assert set(sent) == {"a"}
        lame.way.is_cut = lame.directory.is_away = lame.links.are_cut = False
        await asyncio.sleep(2)
        sent.clear()
        await world.settled()
        assert (sent, bool(lame.owned)) == ([], True)


@virtual
async def test_who_cannot_commit_and_has_lost_all_rooms_sends_its_players_away() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await world.start("b")
        await world.settled()
        owned: list[int] = []
        first.cluster.on_cut_off = lambda: owned.append(len(first.owned))
        first.way.is_cut = True
        await first.rig.until(lambda: bool(owned), 3.5)
        assert set(owned) == {0}


@virtual
async def test_who_is_cut_off_from_storage_keeps_its_rooms_if_nobody_else_could_serve_them() -> (
    None
):
    async with world_running() as world:
        first = await world.start("a")
        second = await world.start("b")
        await world.settled()
        before = world.owners()
        for one in (first, second):
            one.way.is_cut = True
        await asyncio.sleep(6)
        first.way.is_cut = second.way.is_cut = False
        await asyncio.sleep(6)
        assert world.owners() == before


@virtual
async def test_a_directory_that_was_wiped_changes_no_owner() -> None:
    async with world_running() as world:
        await world.start("a")
        await world.start("b")
        await world.settled()
        before = world.owners()
        for _ in range(5):
            for lost in (world.shared.nodes, world.shared.leases, world.shared.lines):
                lost.clear()
            await asyncio.sleep(1)
            assert world.owners() == before


@virtual
async def test_a_drained_node_gives_everything_away_and_players_miss_nothing() -> None:
    async with world_running() as world:
        first = await world.start("a")
        row = await _room(world, 1)
        ann, bob = Eyes(ANN, "ann"), Eyes(BOB, "bob")
        await first.rig.until(lambda: len(first.owned) == SHARDS)
        await first.rig.join(row, ann)
        await first.rig.join(row, bob, watch=True)
        await first.rig.done(row, ann, 1, Put(1))
        await world.start("b")
        await asyncio.sleep(0.5)
        if not moved_to(ann):
            first.rig.command(row, ann, 2, Put(2))  # Perhaps it is decided here, perhaps it is not.
        first.cluster.drain()
        async with asyncio.timeout(5):
            await first.cluster.rid.wait()
        assert moved_to(ann)[-1] == moved_to(bob)[-1] == "ws://b/ws"
        await world.settled()
        await world.follow(ann, 1)
        await world.follow(bob, 1, watch=True)
        assert [one.resume for one in ann.of(Joined)][1:] == [1]
        home = world.home(1).rig
        assert (await home.done(row, ann, 2, Put(2))).accepted
        assert (await home.done(row, ann, 3, Put(3))).accepted
        await home.beats()
        assert (len(ann.of(Full)), len(bob.of(Full))) == (1, 1)
        home.check_views(row, ann, bob)
        assert world.home(1) is world.members["b"]


@virtual
@pytest.mark.parametrize(("has_given_all", "event"), [(True, "node_left"), (False, "node_died")])
async def test_a_node_that_goes_in_order_is_not_taken_for_one_that_died(
    has_given_all: bool, event: str
) -> None:
    async with world_running() as world:
        first = await world.start("a")
        second = await world.start("b")
        await world.settled()
        second.way.is_cut = not has_given_all  # Then it can take nothing.
        first.cluster.drain()
        if has_given_all:
            await first.cluster.rid.wait()
        await asyncio.sleep(0.01)
        with capture_logs() as logs:
            world.kill("a")
        assert [one["event"] for one in logs if one["event"].startswith("node_")] == [event]


@virtual
async def test_who_gives_shards_writes_nothing_to_them_while_it_waits_for_their_taking() -> None:
    async with world_running() as world:
        first = await world.start("a")
        keeper, metrics = first.rig.node.keeper, first.rig.node.metrics
        await first.rig.until(lambda: len(first.owned) == SHARDS)
        second = await world.start("b")
        second.links.is_mute = True
        await first.rig.until(lambda: bool(keeper.passed))
        passed, before = set(keeper.passed), len(world.store.batches)
        await asyncio.sleep(0.9)
        assert keeper.passed == passed, "it waits"
        written = [batch for batch in world.store.batches[before:] if batch.node == "a"]
        assert written
        assert not {mark.shard for batch in written for mark in batch.marks} & passed
        await world.settled()
        assert metrics.handovers_total == SHARDS // 2
        assert (metrics.shards_fenced_total, keeper.passed) == (0, set())


@virtual
async def test_who_found_its_shards_before_it_was_told_of_them_answers_all_the_same() -> None:
    async with world_running() as world:
        first = await world.start("a")
        second = await world.start("b")
        await world.settled()
        heard: list[list[object]] = []
        first.links.on_message = lambda _, message: heard.append(message)
        shards = sorted(second.owned)
        await second.moving.take_once(dict.fromkeys(shards, "a"))
        await asyncio.sleep(0.01)
        assert heard == [["taken", shards]]


@virtual
async def test_while_a_room_rests_it_decides_nothing_and_goes_on_if_nobody_takes_it() -> None:
    async with world_running() as world:
        first = await world.start("a")
        row = await _room(world, 1)
        ann = Eyes(ANN, "ann")
        await first.rig.until(lambda: len(first.owned) == SHARDS)
        await first.rig.join(row, ann)
        handover = first.rig.node.handover
        assert await handover.rest({1})
        first.rig.command(row, ann, 1, Put(1))
        late = await _room(world, 1 + SHARDS)
        late_ann = Eyes(ANN)
        async with asyncio.TaskGroup() as tasks:
            joining = tasks.create_task(first.rig.join(late, late_ann))
            await asyncio.sleep(0.5)
            assert not ann.outcomes()
            assert not joining.done(), "a room that is opened meanwhile rests too"
            handover.go_on({1})
        await first.rig.until(lambda: bool(ann.outcomes()))


@virtual
async def test_storage_that_fails_in_a_hand_over_leaves_the_rooms_where_they_are() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await first.rig.until(lambda: len(first.owned) == SHARDS)

        async def fail(*_: object) -> frozenset[int]:
            raise StorageUnavailable("away")

        passing, world.store.pass_shards = world.store.pass_shards, fail  # type: ignore[method-assign, assignment]
        row = await _room(world, 1)
        ann = Eyes(ANN)
        await first.rig.join(row, ann)
        await world.start("b")
        await asyncio.sleep(3)
        assert len(first.owned) == SHARDS
        assert (await first.rig.done(row, ann, 1, Put(1))).accepted
        world.store.pass_shards = passing  # type: ignore[method-assign]
        await world.settled()
        assert len(first.owned) == SHARDS // 2


@virtual
async def test_a_node_that_dies_before_it_takes_what_it_was_given_is_followed_by_another() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await first.rig.until(lambda: len(first.owned) == SHARDS)
        second = await world.start("b")
        for task in second.tasks[2:]:
            task.cancel()  # It neither takes nor gives.
        await asyncio.sleep(3)
        assert len(first.owned) < SHARDS
        world.kill("b")
        await world.settled()
        assert len(first.owned) == SHARDS


@virtual
async def test_what_is_not_here_is_elsewhere_or_about_to_be_taken() -> None:
    async with world_running() as world:
        first = await world.start("a")
        second = await world.start("b")
        await world.settled()
        theirs = min(second.owned)
        place = first.cluster.place_of(theirs)
        assert place is not None
        assert (place.node, place.url) == ("b", "ws://b/ws")
        assert first.cluster.place_of(min(first.owned)) is None
        row = await _room(world, theirs + SHARDS)
        error = await first.rig.join(row, Eyes(ANN))
        assert error is not None
        assert (error.code, 0 < error.retry_ms < 200) == (ReplyCode.UNAVAILABLE, True)


@virtual
async def test_two_nodes_cannot_have_one_name_but_one_that_was_killed_can_come_back() -> None:
    async with world_running() as world:
        await world.start("a")
        with pytest.raises(NameTaken):
            await world.start("a")
        world.kill("a")
        again = await world.start("a")
        await again.rig.until(lambda: len(again.owned) == SHARDS, 3)


@virtual
async def test_a_node_with_older_rules_is_given_nothing_by_one_with_newer_ones() -> None:
    async with world_running() as world:
        newer = await world.start("a", rules_version=2)
        await newer.rig.until(lambda: len(newer.owned) == SHARDS)
        older = await world.start("b", rules_version=1)
        await asyncio.sleep(5)
        assert not older.owned
        newest = await world.start("c", rules_version=2)
        await asyncio.sleep(8)
        assert not older.owned
        assert len(newest.owned) >= 2
        assert len(newer.owned) + len(newest.owned) == SHARDS


@virtual
async def test_after_an_outage_of_storage_nobody_takes_what_others_have() -> None:
    async with world_running() as world:
        await world.start("a")
        await world.start("b")
        await world.settled()
        before = world.owners()
        world.store.away.clear()
        await asyncio.sleep(6)
        world.store.away.set()
        await asyncio.sleep(6)
        assert world.owners() == before


@virtual
async def test_an_operator_can_ask_a_node_to_drain() -> None:
    async with world_running() as world:
        first = await world.start("a")
        second = await world.start("b")
        await world.settled()
        first.cluster.on_drain = first.cluster.drain
        assert await second.directory.ask_to_drain("a")
        async with asyncio.timeout(5):
            await first.cluster.rid.wait()
        assert len(second.owned) == SHARDS
        assert first.cluster.view.drains == {"a"}


@virtual
async def test_nodes_that_go_together_give_to_those_that_stay_and_not_to_each_other() -> None:
    async with world_running() as world:
        going = [await world.start("a"), await world.start("b")]
        stays = await world.start("c")
        await world.settled()
        for one in going:
            one.cluster.drain()
        async with asyncio.timeout(2):
            for one in going:
                await one.cluster.rid.wait()
        assert len(stays.owned) == SHARDS
        assert stays.rig.node.metrics.takeovers_total["takeover"] == 0, "all was handed over"


@virtual
async def test_when_all_nodes_go_none_waits_for_another() -> None:
    async with world_running() as world:
        going = [await world.start("a"), await world.start("b")]
        await world.settled()
        given = [one.rig.node.metrics.handovers_total for one in going]
        for one in going:
            one.cluster.drain()
        async with asyncio.timeout(0.5):  # A beat and a bit.
            for one in going:
                await one.cluster.rid.wait()
        await asyncio.sleep(1)
        # What was on its way when the other one spoke arrives, and that is all.
        moved = [one.rig.node.metrics.handovers_total for one in going]
        assert sum(moved) - sum(given) <= SHARDS


@virtual
async def test_nodes_that_start_together_see_each_other_before_they_take_anything() -> None:
    async with world_running() as world:
        members = [await world.start(name) for name in "abcd"]
        await world.settled()
        assert [len(member.owned) for member in members] == [2, 2, 2, 2]
        assert sum(one.rig.node.metrics.handovers_total for one in members) == 0


@virtual
async def test_a_hot_node_gives_to_a_calm_one_until_it_is_calmer_and_nothing_comes_back() -> None:
    async with world_running() as world:
        hot = await world.start("a")
        calm = await world.start("b")
        await world.settled()
        slots = hot.rig.node.metrics.slot_ms
        async with asyncio.TaskGroup() as tasks:

            async def burn() -> None:
                while True:  # Each of its shards keeps it busy for a fifth of the time.
                    await asyncio.sleep(0.1)
                    slots.total += 20.0 * len(hot.owned)

            burning = tasks.create_task(burn())
            await asyncio.sleep(60)
            burning.cancel()
        assert (len(hot.owned), len(calm.owned)) == (3, 5)
        assert calm.rig.node.metrics.handovers_total == 0


@virtual
async def test_what_a_node_could_give_to_nobody_is_free_when_it_has_gone() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await first.rig.until(lambda: len(first.owned) == SHARDS)
        first.cluster.drain()
        await asyncio.sleep(1)
        await first.moving.leave()
        await first.cluster.leave()
        world.members.pop("a").freeze()
        second = await world.start("b")
        await second.rig.until(lambda: len(second.owned) == SHARDS, 0.6)
