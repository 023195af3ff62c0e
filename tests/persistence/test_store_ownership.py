"""Who owns shards and runs tasks, on both stores: what is given, passed on, and taken from whom."""

import pytest

from persistence.interfaces import NO_HEAD, Poisoned, ShardMark, Store, chained
from persistence.ownership import NOBODY, SHARDS_MAX, ClusterRow, ShardOwner, Succession
from tests.persistence.builders import Node, entry, owner, room_row, snapshot_row
from tests.persistence.conftest import OpenStore, PassTime

MINUTE_MS = 60_000
STALE = Succession(stale_ms=MINUTE_MS)


async def _names(store: Store) -> dict[int, str]:
    return {row.shard: row.node for row in await store.shard_owners()}


async def _taken(store: Store, shards: list[int], succession: Succession | None) -> list[int]:
    states = await store.take_shards("node-b", shards, succession)
    return [state.shard for state in states]


# --- What nodes have in common.


async def test_a_cluster_stays_what_it_was_made_with(open_store: OpenStore) -> None:
    one, other = await open_store(), await open_store()
    made = await one.cluster(16)
    assert made == ClusterRow(made.cluster_id, 16)
    assert made.cluster_id
    assert await one.cluster(64) == made
    assert await other.cluster(1) == made


async def test_a_cluster_has_as_many_shards_as_can_be_counted(store: Store) -> None:
    for shards in (0, -1, SHARDS_MAX + 1):
        with pytest.raises(Poisoned):
            await store.cluster(shards)
    assert (await store.cluster(SHARDS_MAX)).shards == SHARDS_MAX


async def test_storage_has_a_time_of_its_own(store: Store) -> None:
    before = await store.wall_ms()
    assert 1_600_000_000_000 < before <= await store.wall_ms()


# --- Taking.


async def test_without_a_succession_every_shard_is_taken(store: Store) -> None:
    await owner(store, 0, 1)
    assert await _taken(store, [1, 2, 0], None) == [0, 1, 2]
    assert await _names(store) == {0: "node-b", 1: "node-b", 2: "node-b"}


async def test_a_live_owner_keeps_its_shards(store: Store, pass_time: PassTime) -> None:
    before = await owner(store, 0, 1)
    await pass_time(MINUTE_MS // 2)
    for succession in (Succession(), Succession(("node-c",), MINUTE_MS)):
        assert await _taken(store, [0, 1], succession) == []
    assert await _names(store) == {0: "node-a", 1: "node-a"}
    assert (await before.commit(entries=[entry(7, 1)])).fenced == frozenset()


async def test_what_may_be_taken_is_taken_and_the_rest_is_left_out(store: Store) -> None:
    await owner(store, 0, 5)
    await owner(store, 1, 4, name="node-c")
    await owner(store, 3, name="node-b")
    states = await store.take_shards("node-b", [5, 4, 3, 2, 1, 0], Succession(("node-c",)))
    assert [(state.shard, state.epoch) for state in states] == [(1, 2), (2, 1), (3, 2), (4, 2)]
    assert [row.epoch for row in await store.shard_owners()] == [1, 2, 1, 2, 2, 1]


async def test_whoever_is_idle_too_long_loses_its_shards(store: Store, pass_time: PassTime) -> None:
    await owner(store, 0)
    await pass_time(MINUTE_MS)
    await owner(store, 1)
    assert await _taken(store, [0, 1], Succession(stale_ms=3 * MINUTE_MS)) == []
    assert await _taken(store, [0, 1], Succession()) == []
    assert await _taken(store, [0, 1], STALE) == [0]
    assert await _taken(store, [1], Succession(stale_ms=0)) == [1]


async def test_a_commit_renews_all_shards_that_it_marks_with_entries_or_without(
    store: Store, pass_time: PassTime
) -> None:
    node = await owner(store, 0, 1)
    await owner(store, 2)
    await pass_time(MINUTE_MS)
    await node.commit(entries=[entry(7, 1)])
    assert await _taken(store, [0, 1, 2], STALE) == [2]
    await pass_time(MINUTE_MS)
    await node.commit()
    assert await _taken(store, [0, 1, 2], STALE) == [2]
    assert [row.clock_tick for row in await store.shard_owners()] == [2, 2, 0]


async def test_a_commit_that_is_fenced_renews_nothing(store: Store, pass_time: PassTime) -> None:
    before = await owner(store, 0, 1)
    await owner(store, 0, name="node-c")
    await pass_time(MINUTE_MS)
    assert (await before.commit()).fenced == {0}
    assert await _taken(store, [0, 1], STALE) == [0]


async def test_a_succession_brings_clock_and_head_and_fences_the_one_before(store: Store) -> None:
    before = await owner(store, 0)
    await before.commit(entries=[entry(7, 1)])
    (state,) = await store.take_shards("node-b", [0], Succession(("node-a",)))
    assert (state.epoch, state.clock_tick, state.link) == (2, 1, 1)
    assert state.head == chained(NO_HEAD, [entry(7, 1)])
    assert (await before.commit(entries=[entry(7, 2)])).fenced == {0}
    # The name of a dead node is not that of the next owner.
    assert await store.take_shards("node-c", [0], Succession(("node-a",))) == ()


async def test_owners_are_listed_by_shard_with_their_age(store: Store, pass_time: PassTime) -> None:
    assert await store.shard_owners() == ()
    node = await owner(store, 3, 1)
    node.clock_tick = 40
    await node.commit()
    await pass_time(MINUTE_MS)
    await owner(store, 2, name="node-b")
    rows = await store.shard_owners()
    assert [(r.shard, r.node, r.epoch, r.clock_tick) for r in rows] == [
        (1, "node-a", 1, 41),
        (2, "node-b", 1, 0),
        (3, "node-a", 1, 41),
    ]
    idle = [row.idle_ms // MINUTE_MS for row in rows]
    assert idle == [1, 0, 1]
    assert all(isinstance(row, ShardOwner) and row.idle_ms >= 0 for row in rows)


# --- Passing on.


def _marks(node: Node) -> tuple[ShardMark, ...]:
    return node.batch().marks


async def test_a_shard_that_was_passed_on_is_the_old_owners_until_the_new_one_takes_it(
    store: Store,
) -> None:
    before = await owner(store, 0, 1)
    await store.create_room(room_row(7))
    assert await store.pass_shards("node-a", "node-b", _marks(before)[:1]) == {0}
    assert await _names(store) == {0: "node-b", 1: "node-a"}
    answer = await before.commit(entries=[entry(7, 1)])
    assert answer.fenced == answer.regressed == frozenset()
    await store.save_snapshots([snapshot_row(7, 1)], _marks(before), 0)
    assert len(await store.snapshots(7)) == 1

    assert await store.take_shards("node-c", [0, 1], Succession()) == ()
    after = Node(store, "node-b")
    (state,) = await store.take_shards("node-b", [0, 1], Succession())
    assert (state.shard, state.epoch, state.head) == (0, 2, before.heads[0])
    after.epochs[0], after.heads[0] = state.epoch, state.head
    assert (await before.commit(entries=[entry(7, 2)])).fenced == {0}
    assert (await after.commit(entries=[entry(7, 2)])).fenced == frozenset()
    assert await store.pass_shards("node-a", "node-c", _marks(before)) == {1}


async def test_what_is_passed_to_nobody_is_anybodys(store: Store) -> None:
    before = await owner(store, 0, 1)
    assert await store.pass_shards("node-a", NOBODY, _marks(before)) == {0, 1}
    assert await _names(store) == {0: "", 1: ""}
    assert await _taken(store, [0], Succession()) == [0]
    assert [s.shard for s in await store.take_shards("node-c", [0, 1], Succession())] == [1]


async def test_only_what_is_ones_own_can_be_passed_on(store: Store) -> None:
    before = await owner(store, 0, 1, 2)
    await owner(store, 1, name="node-c")
    marks = (*_marks(before), ShardMark(9, 1, 0, NO_HEAD, NO_HEAD))
    assert await store.pass_shards("node-b", "node-a", marks) == {0, 2}  # They are node-a's.
    assert await store.pass_shards("node-b", "node-d", marks) == frozenset()
    assert await store.pass_shards("node-a", "node-b", marks) == {0, 2}
    assert await _names(store) == {0: "node-b", 1: "node-c", 2: "node-b"}
    assert await store.pass_shards("node-a", "node-b", []) == frozenset()


async def test_to_pass_on_again_has_the_same_answer_and_can_be_mended(store: Store) -> None:
    before = await owner(store, 0)
    for _ in range(2):
        assert await store.pass_shards("node-a", "node-b", _marks(before)) == {0}
    assert await store.pass_shards("node-a", "node-c", _marks(before)) == frozenset()
    assert await store.pass_shards("node-b", "node-a", _marks(before)) == {0}
    assert await _names(store) == {0: "node-a"}
    assert (await store.shard_owners())[0].epoch == 1


async def test_to_pass_on_is_a_sign_of_life_and_looks_at_no_head(
    store: Store, pass_time: PassTime
) -> None:
    await owner(store, 0)
    await pass_time(MINUTE_MS)
    mark = ShardMark(0, 1, 0, bytes([9]) * 32, bytes([9]) * 32)
    assert await store.pass_shards("node-a", "node-c", [mark]) == {0}
    assert await _taken(store, [0], STALE) == []
    await pass_time(MINUTE_MS)
    assert await _taken(store, [0], STALE) == [0]


async def test_nobody_and_what_has_no_name_can_take_nothing(store: Store) -> None:
    node = await owner(store, 0)
    for name in ("", "a\0b", "x" * 201):
        with pytest.raises(Poisoned):
            await store.take_shards(name, [1])
        with pytest.raises(Poisoned):
            await store.pass_shards(name, "node-b", _marks(node))
        with pytest.raises(Poisoned):
            await store.claim_task(name, "node-a", 1)
        with pytest.raises(Poisoned):
            await store.claim_task("prune", name, 1)
    for succession in (Succession(("a\0b",)), Succession(stale_ms=-1)):
        with pytest.raises(Poisoned):
            await store.take_shards("node-b", [1], succession)
    with pytest.raises(Poisoned):
        await store.pass_shards("node-a", "\ud800", _marks(node))
    with pytest.raises(Poisoned):
        await store.claim_task("prune", "node-a", -1)
    assert await _names(store) == {0: "node-a"}


# --- Tasks.


async def test_a_task_has_one_runner_until_it_is_idle_too_long(
    store: Store, pass_time: PassTime
) -> None:
    assert await store.claim_task("prune", "node-a", MINUTE_MS) == 1
    assert await store.claim_task("prune", "node-b", MINUTE_MS) is None
    await pass_time(MINUTE_MS // 2)
    assert await store.claim_task("prune", "node-a", MINUTE_MS) == 1  # It renews.
    await pass_time(MINUTE_MS // 2 + 1_000)
    assert await store.claim_task("prune", "node-b", MINUTE_MS) is None
    await pass_time(MINUTE_MS // 2)
    assert await store.claim_task("prune", "node-b", MINUTE_MS) == 2
    assert await store.claim_task("prune", "node-a", MINUTE_MS) is None
    assert await store.claim_task("prune", "node-b", MINUTE_MS) == 2


async def test_a_runner_that_was_late_and_not_replaced_goes_on_as_before(
    store: Store, pass_time: PassTime
) -> None:
    assert await store.claim_task("prune", "node-a", MINUTE_MS) == 1
    await pass_time(2 * MINUTE_MS)
    assert await store.claim_task("prune", "node-a", MINUTE_MS) == 1


async def test_tasks_know_nothing_of_each_other(store: Store) -> None:
    assert await store.claim_task("prune", "node-a", MINUTE_MS) == 1
    assert await store.claim_task("sign", "node-b", MINUTE_MS) == 1
    assert await store.claim_task("prune", "node-c", 0) == 2
    assert await store.claim_task("sign", "node-b", MINUTE_MS) == 1
