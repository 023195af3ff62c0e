"""Nodes and leases in every directory: who is there, who should own what, and what lapses."""

import pytest

from persistence.directory import (
    ClusterView,
    DirectoryUnavailable,
    DirectoryUnusable,
    NameTaken,
)
from tests.persistence.directories import LEASE_MS, Directories, record

SHORT_MS = 60  # A lease that a test waits for.
LONGER_MS = 90


async def test_a_node_that_beats_is_there_and_holds_its_shards(directories: Directories) -> None:
    directory = await directories.open()
    assert await directory.view() == ClusterView()
    a = record(load=300, rooms=7, connections=12, rules=(), draining=True)
    view = await directory.beat(a, [0, 5], LEASE_MS)
    assert view == ClusterView((a,), {0: "a", 5: "a"})
    assert await (await directories.open()).view() == view


async def test_a_beat_answers_all_nodes_by_name(directories: Directories) -> None:
    directory, other = await directories.open(), await directories.open()
    b, a = record("b", url="ws://b/ws"), record("a")
    await directory.beat(b, [1], LEASE_MS)
    view = await other.beat(a, [0], LEASE_MS)
    assert view == ClusterView((a, b), {0: "a", 1: "b"})


async def test_a_later_beat_replaces_what_a_node_said_of_itself(directories: Directories) -> None:
    directory = await directories.open()
    await directory.beat(record(load=1), [0], LEASE_MS)
    view = await directory.beat(record(load=2), [], LEASE_MS)
    assert view.nodes == (record(load=2),)
    assert view.leases == {0: "a"}, "a lease that is not renewed stands until it lapses"


async def test_a_beat_takes_no_shard_from_another_node(directories: Directories) -> None:
    directory = await directories.open()
    await directory.beat(record("a"), [0, 1], LEASE_MS)
    view = await directory.beat(record("b"), [1, 2], LEASE_MS)
    assert view.leases == {0: "a", 1: "a", 2: "b"}


async def test_a_node_that_is_silent_lapses_with_its_leases(directories: Directories) -> None:
    directory = await directories.open()
    await directory.beat(record("b"), [1], LEASE_MS)
    await directory.beat(record("a"), [0], SHORT_MS)
    await directories.pass_ms(LONGER_MS)
    view = await directory.view()
    assert view == ClusterView((record("b"),), {1: "b"})
    assert (await directory.beat(record("b"), [0], LEASE_MS)).leases == {0: "b", 1: "b"}


async def test_a_beat_renews_what_it_names_and_nothing_else(directories: Directories) -> None:
    directory = await directories.open()
    await directory.beat(record(), [0, 1], SHORT_MS)
    await directory.beat(record(), [1], LEASE_MS)
    await directories.pass_ms(LONGER_MS)
    assert (await directory.view()).leases == {1: "a"}


async def test_a_name_belongs_to_the_instance_that_lives(directories: Directories) -> None:
    directory, other = await directories.open(), await directories.open()
    await directory.beat(record("a", "first"), [0], LEASE_MS)
    with pytest.raises(NameTaken):
        await other.beat(record("a", "second"), [0, 1], LEASE_MS)
    view = await directory.view()
    assert view == ClusterView((record("a", "first"),), {0: "a"})

    await directory.beat(record("a", "first"), [0], SHORT_MS)
    await directories.pass_ms(LONGER_MS)
    view = await other.beat(record("a", "second"), [0, 1], LEASE_MS)
    assert view == ClusterView((record("a", "second"),), {0: "a", 1: "a"})
    with pytest.raises(NameTaken):
        await directory.beat(record("a", "first"), [0], LEASE_MS)


async def test_free_leases_and_those_of_the_dead_can_be_taken(directories: Directories) -> None:
    directory = await directories.open()
    await directory.beat(record("a"), [0], LEASE_MS)
    await directory.beat(record("b"), [1], LEASE_MS)
    await directory.beat(record("c"), [2], LEASE_MS)
    assert await directory.take_leases("c", [0, 1, 2, 3], ["b", "x"], LEASE_MS) == {1, 2, 3}
    assert (await directory.view()).leases == {0: "a", 1: "c", 2: "c", 3: "c"}
    assert await directory.take_leases("c", [0], (), LEASE_MS) == frozenset()
    assert await directory.take_leases("c", (), ["a"], LEASE_MS) == frozenset()


async def test_a_taken_lease_lapses_like_any_other(directories: Directories) -> None:
    directory = await directories.open()
    await directory.take_leases("a", [0], (), SHORT_MS)
    await directories.pass_ms(LONGER_MS)
    assert await directory.take_leases("b", [0], (), LEASE_MS) == {0}


async def test_only_ones_own_leases_can_be_passed(directories: Directories) -> None:
    directory = await directories.open()
    await directory.beat(record("a"), [0, 1], SHORT_MS)
    await directory.beat(record("b"), [2], SHORT_MS)
    for _ in range(2):
        assert await directory.pass_leases("a", "c", [0, 2, 3], LEASE_MS) == {0}
    assert (await directory.view()).leases == {0: "c", 1: "a", 2: "b"}
    await directories.pass_ms(LONGER_MS)
    assert (await directory.view()).leases == {0: "c"}, "a passed lease is a new one"


async def test_who_leaves_is_forgotten_at_once(directories: Directories) -> None:
    directory = await directories.open()
    await directory.beat(record("a"), [0, 1], LEASE_MS)
    await directory.beat(record("b"), [2], LEASE_MS)
    await directory.ask_to_drain("a")
    await directory.leave(record("a"))
    assert await directory.view() == ClusterView((record("b"),), {2: "b"})
    await directory.leave(record("a"))


async def test_an_instance_cannot_leave_for_another(directories: Directories) -> None:
    directory = await directories.open()
    await directory.beat(record("a", "second"), [0], LEASE_MS)
    await directory.leave(record("a", "first"))
    assert await directory.view() == ClusterView((record("a", "second"),), {0: "a"})


async def test_a_node_is_asked_to_drain(directories: Directories) -> None:
    directory = await directories.open()
    assert not await directory.ask_to_drain("a")
    await directory.beat(record("a"), [], LEASE_MS)
    await directory.beat(record("b"), [], LEASE_MS)
    assert await directory.ask_to_drain("a")
    assert (await directory.view()).drains == {"a"}
    assert (await directory.beat(record("a"), [], LEASE_MS)).drains == {"a"}


async def test_the_next_instance_of_a_name_is_not_asked_to_drain(directories: Directories) -> None:
    directory = await directories.open()
    await directory.beat(record("a", "first"), [], LEASE_MS)
    assert await directory.ask_to_drain("a")
    await directory.beat(record("a", "first"), [], SHORT_MS)
    await directories.pass_ms(LONGER_MS)
    view = await directory.beat(record("a", "second"), [], LEASE_MS)
    assert view.drains == frozenset()


async def test_a_wiped_directory_is_filled_by_the_next_beats(directories: Directories) -> None:
    directory, other = await directories.open(), await directories.open()
    await directory.beat(record("a"), [0], LEASE_MS)
    await other.beat(record("b"), [1], LEASE_MS)
    await directories.wipe()
    assert await directory.view() == ClusterView()
    view = await directory.beat(record("a"), [0], LEASE_MS)
    assert view == ClusterView((record("a"),), {0: "a"})
    view = await other.beat(record("b"), [1], LEASE_MS)
    assert view.leases == {0: "a", 1: "b"}


async def test_leases_after_a_wipe_are_not_taken_for_those_before(
    directories: Directories,
) -> None:
    directory, other = await directories.open(), await directories.open()
    await directory.beat(record("a"), [0], LEASE_MS)
    await directories.wipe()
    await other.beat(record("b"), [5], LEASE_MS)
    assert (await directory.view()).leases == {5: "b"}


async def test_every_change_of_leases_is_seen_by_all(directories: Directories) -> None:
    directory, other = await directories.open(), await directories.open()
    await directory.beat(record("a"), [0, 1, 2], LEASE_MS)
    assert (await other.view()).leases == {0: "a", 1: "a", 2: "a"}
    await directory.pass_leases("a", "b", [0], LEASE_MS)
    assert (await other.view()).leases == {0: "b", 1: "a", 2: "a"}
    await directory.take_leases("c", [1], ["a"], LEASE_MS)
    assert (await other.view()).leases == {0: "b", 1: "c", 2: "a"}
    await directory.leave(record("a"))
    assert (await other.view()).leases == {0: "b", 1: "c"}
    await directory.beat(record("d"), [2], LEASE_MS)
    assert (await other.view()).leases == {0: "b", 1: "c", 2: "d"}
    await directory.beat(record("d"), [2], SHORT_MS)
    await directories.pass_ms(LONGER_MS)
    assert (await other.view()).leases == {0: "b", 1: "c"}


async def test_two_clusters_live_under_two_prefixes(directories: Directories) -> None:
    directory = await directories.open("c1", "one")
    other = await directories.open("c2", "two")
    await directory.beat(record("a"), [0], LEASE_MS)
    assert await other.view() == ClusterView()
    assert await other.take_leases("b", [0], (), LEASE_MS) == {0}
    assert (await directory.view()).leases == {0: "a"}


async def test_a_prefix_belongs_to_one_cluster(directories: Directories) -> None:
    directory = await directories.open("c1")
    await directory.beat(record("a"), [0], LEASE_MS)
    with pytest.raises(DirectoryUnusable, match="another cluster"):
        await directories.open("c2")
    assert (await directory.view()).leases == {0: "a"}


async def test_a_cluster_that_lost_its_prefix_writes_nothing_there(
    directories: Directories,
) -> None:
    directory = await directories.open("c1")
    await directories.wipe()
    other = await directories.open("c2")
    for call in (
        directory.beat(record("a"), [0], LEASE_MS),
        directory.take_leases("a", [0], (), LEASE_MS),
        directory.publish([], (), LEASE_MS),
        directory.leave(record("a")),
        directory.view(),
        directory.places("quiz", 10),
    ):
        with pytest.raises(DirectoryUnavailable, match="another cluster"):
            await call
    assert await other.view() == ClusterView()


async def test_a_lease_of_four_thousand_shards_is_one_call(directories: Directories) -> None:
    directory = await directories.open()
    shards = range(4_096)
    view = await directory.beat(record("a"), shards, LEASE_MS)
    assert view.leases == dict.fromkeys(shards, "a")
    view = await directory.beat(record("b"), shards, LEASE_MS)
    assert view.leases == dict.fromkeys(shards, "a")
    assert await directory.pass_leases("a", "b", shards, LEASE_MS) == frozenset(shards)
    assert await directory.take_leases("c", shards, ["b"], LEASE_MS) == frozenset(shards)


async def test_a_directory_that_was_not_started_is_unavailable(directories: Directories) -> None:
    directory = await directories.open()
    await directory.stop()
    with pytest.raises(DirectoryUnavailable):
        await directory.view()
