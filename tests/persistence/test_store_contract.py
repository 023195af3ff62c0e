"""Commits on both stores: what is written, by whom, and that a repeat is no second time."""

from dataclasses import replace

import pytest

from persistence.auditing import SignedHead
from persistence.interfaces import (
    NO_HEAD,
    TRANSFERS_PER_BATCH_MAX,
    Batch,
    CommitAnswer,
    EntryRow,
    Hold,
    Poisoned,
    ResultRow,
    RoomEnd,
    ScoreRow,
    Settle,
    ShardMark,
    Store,
    chained,
)
from persistence.memory import MemoryStore
from persistence.postgres.store import PostgresStore
from tests.persistence.builders import Node, entry, hold, owner, room_row, unset_head


async def test_entries_come_back_in_order_and_as_they_were(store: Store) -> None:
    node = await owner(store)
    rows = [
        EntryRow(0, 7, 1, 10, b""),
        EntryRow(1, 8, 1, 10, b"\0\xff"),
        EntryRow(0, 7, 2, 11, b"x"),
    ]
    answer = await node.commit(entries=rows)
    assert answer.fenced == answer.regressed == frozenset()
    assert await store.entries(7, 0, 10) == (rows[0], rows[2])
    assert await store.entries(8, 0, 10) == (rows[1],)
    assert await store.entries(7, 1, 10) == (rows[2],)
    assert await store.entries(7, 0, 1) == (rows[0],)
    assert await store.entries(9, 0, 10) == ()


async def test_a_shard_that_was_never_taken_begins_at_nothing(store: Store) -> None:
    states = await store.take_shards("node-a", [5, 3, 5])
    assert [(s.shard, s.epoch, s.clock_tick, s.head) for s in states] == [
        (3, 1, 0, NO_HEAD),
        (5, 1, 0, NO_HEAD),
    ]


async def test_a_taken_shard_brings_its_clock_and_head(store: Store) -> None:
    node = await owner(store)
    node.clock_tick = 40
    rows = [entry(7, 1), entry(7, 2)]
    await node.commit(entries=rows)
    state, other = await store.take_shards("node-b", [0, 1])
    assert (state.epoch, state.clock_tick, state.head) == (2, 41, chained(NO_HEAD, rows))
    assert (other.epoch, other.clock_tick, other.head) == (2, 41, NO_HEAD)


async def test_a_clock_never_goes_back(store: Store) -> None:
    node = await owner(store)
    node.clock_tick = 40
    await node.commit()
    node.clock_tick = 10
    await node.commit()
    assert (await store.take_shards("node-b", [0]))[0].clock_tick == 41


async def test_an_earlier_owner_is_fenced_and_writes_nothing(store: Store) -> None:
    before = await owner(store, 0, 1)
    await store.create_person(1, "ann", 100)
    await store.create_room(room_row(7))
    after = await owner(store, 0, name="node-b")
    answer = await before.commit(
        entries=[entry(7, 1), entry(8, 1, shard=1)],
        holds=[hold("h", 10), Hold(1, 8, "i", 1, 20)],
        results=[ResultRow(0, 7, 1, 1, b"r")],
        scores=[ScoreRow(0, 7, "s", "keno", 1, 5)],
        ends=[RoomEnd(0, 7)],
    )
    assert (answer.fenced, answer.regressed) == (frozenset({0}), frozenset())
    assert [verdict.reference for verdict in answer.verdicts] == ["i"]
    assert answer.balances == ((1, 80),)
    assert await store.entries(7, 0, 10) == ()
    assert len(await store.entries(8, 0, 10)) == 1
    assert await store.results(7, 10) == ()
    assert await store.scores("keno", 10) == ()
    assert len(await store.rooms(None, listed=True, limit=10)) == 1
    assert (await after.commit(entries=[entry(7, 1)])).fenced == frozenset()


async def test_what_is_wrong_in_a_fenced_shard_poisons_nobody(store: Store) -> None:
    before = await owner(store, 0, 1)
    await store.take_shards("node-b", [0])
    answer = await before.commit(
        entries=[entry(7, 5), entry(8, 1, shard=1)], settles=[Settle(0, 7, "never held", 1)]
    )
    assert answer.fenced == {0}
    assert len(await store.entries(8, 0, 10)) == 1


async def test_a_node_that_has_seen_more_than_storage_holds_has_a_regressed_shard(
    store: Store,
) -> None:
    node = await owner(store)
    await node.commit(entries=[entry(7, 1)])
    unset_head(node, 0)
    answer = await node.commit(entries=[entry(7, 2), entry(8, 1, shard=1)])
    assert answer == CommitAnswer(regressed=frozenset({0}))
    assert len(await store.entries(7, 0, 10)) == 1
    assert len(await store.entries(8, 0, 10)) == 1


async def test_an_epoch_that_storage_never_gave_is_a_regress_and_no_fence(store: Store) -> None:
    node = await owner(store, 0)
    node.epochs[0] += 1
    node.epochs[9], node.heads[9] = 1, NO_HEAD
    answer = await node.commit(entries=[entry(7, 1)])
    assert answer == CommitAnswer(regressed=frozenset({0, 9}))


async def test_a_batch_sent_again_has_one_effect_and_the_same_answer(store: Store) -> None:
    node = await owner(store)
    await store.create_person(1, "ann", 100)
    batch = node.batch(
        entries=[entry(7, 1)],
        holds=[hold("a", 60), hold("b", 60)],
        scores=[ScoreRow(0, 7, "s", "keno", 1, 5)],
    )
    answer = await store.commit(batch)
    assert len(answer.verdicts) == 2
    assert await store.commit(batch) == answer
    assert await store.balance(1) == 40
    assert len(await store.entries(7, 0, 10)) == 1
    assert await store.scores("keno", 10) == ((1, 5),)


async def test_a_batch_keeps_its_answer_when_another_owner_came_meanwhile(store: Store) -> None:
    node = await owner(store)
    batch = node.batch(entries=[entry(7, 1)])
    answer = await store.commit(batch)
    await store.take_shards("node-b", [0])
    assert await store.commit(batch) == answer
    assert answer.fenced == frozenset()


async def test_a_fenced_batch_stays_fenced_when_sent_again(store: Store) -> None:
    node = await owner(store)
    await store.take_shards("node-b", [0])
    batch = node.batch(entries=[entry(7, 1)])
    assert (await store.commit(batch)).fenced == {0}
    node.epochs[0] = 2
    assert (await store.commit(batch)).fenced == {0}


async def test_an_empty_batch_is_a_heartbeat(store: Store) -> None:
    node = await owner(store)
    await node.commit()
    assert (await store.take_shards("node-b", [1]))[0].clock_tick == 1


async def test_a_result_is_written_once(store: Store) -> None:
    node = await owner(store)
    first, again = ResultRow(0, 7, 1, 10, b"first"), ResultRow(0, 7, 1, 11, b"again")
    second = ResultRow(0, 7, 2, 20, b"second")
    await node.commit(results=[first, again])
    await node.commit(results=[again, second])
    assert await store.results(7, 10) == (second, first)
    assert await store.results(7, 1) == (second,)
    assert await store.results(8, 10) == ()


async def test_scores_add_up_and_ties_go_to_who_was_first(store: Store) -> None:
    node = await owner(store)
    await node.commit(
        scores=[
            ScoreRow(0, 7, "1", "quiz", 1, 5),
            ScoreRow(0, 7, "1", "quiz", 2, 10),
            ScoreRow(0, 7, "2", "quiz", 3, -5),
            ScoreRow(0, 7, "3", "keno", 4, 99),
        ]
    )
    await node.commit(scores=[ScoreRow(0, 7, "4", "quiz", 1, 5)])
    await node.commit(
        scores=[ScoreRow(0, 7, "5", "quiz", 2, 0), ScoreRow(0, 7, "6", "quiz", 5, 10)]
    )
    assert await store.scores("quiz", 10) == ((2, 10), (1, 10), (5, 10), (3, -5))
    assert await store.scores("quiz", 2) == ((2, 10), (1, 10))
    assert await store.scores("chess", 10) == ()


async def test_a_score_counts_once_per_reference_and_account(store: Store) -> None:
    node = await owner(store)
    row = ScoreRow(0, 7, "r", "quiz", 1, 5)
    await node.commit(scores=[row, row])
    await node.commit(scores=[row, ScoreRow(0, 7, "r", "quiz", 2, 3)])
    assert await store.scores("quiz", 10) == ((1, 5), (2, 3))


async def test_entry_numbers_have_no_gap_and_no_double(store: Store) -> None:
    node = await owner(store)
    await node.commit(entries=[entry(7, 1), entry(7, 2)])
    for rows in (
        [entry(7, 2)],
        [entry(7, 4)],
        [entry(7, 1)],
        [entry(8, 2)],
        [entry(8, 0)],
        [entry(8, 1), entry(8, 1)],
        [entry(8, 2), entry(8, 1)],
        [entry(8, 1), entry(8, 3)],
    ):
        with pytest.raises(Poisoned):
            await node.commit(entries=rows)
    assert [row.number for row in await store.entries(7, 0, 10)] == [1, 2]
    assert await store.entries(8, 0, 10) == ()
    await node.commit(entries=[entry(7, 3), entry(8, 1)])


async def test_a_head_that_does_not_follow_from_the_rows_is_poisoned(store: Store) -> None:
    node = await owner(store, 0)
    for next_head, rows in ((bytes([1]) * 32, (entry(7, 1),)), (bytes([1]) * 32, ())):
        marks = (ShardMark(0, 1, 1, NO_HEAD, next_head),)
        with pytest.raises(Poisoned):
            await store.commit(Batch(10**6 + len(rows), "node-a", marks, entries=rows))
    await node.commit(entries=[entry(7, 1)])


def _malformed(node: Node) -> dict[str, Batch]:
    """Return batches of which none can ever be committed, each with sound rows beside."""
    mark = ShardMark(0, 1, 1, NO_HEAD, NO_HEAD)
    many = [hold(f"h{n}", 1) for n in range(TRANSFERS_PER_BATCH_MAX + 1)]
    return {
        "no mark": node.batch(results=[ResultRow(9, 7, 1, 1, b"")]),
        "two marks": Batch(10**7, "node-a", (mark, mark)),
        "short head": Batch(10**7 + 1, "node-a", (ShardMark(0, 1, 1, b"", b""),)),
        "text with NUL": node.batch(holds=[hold("a\0b", 1)]),
        "half a surrogate": node.batch(scores=[ScoreRow(0, 7, "\ud800", "quiz", 1, 1)]),
        "long text": node.batch(holds=[hold("x" * 201, 1)]),
        "hold of nothing": node.batch(holds=[hold("h", 0)]),
        "hold below nothing": node.batch(holds=[hold("h", -1)]),
        "hold of too much": node.batch(holds=[hold("h", 2**53)]),
        "payout below nothing": node.batch(settles=[Settle(0, 7, "h", -1)]),
        "settlement of nothing held": node.batch(settles=[Settle(0, 7, "h", 1)]),
        "too many transfers": node.batch(holds=many),
        "number too large": node.batch(results=[ResultRow(0, 7, 2**63, 1, b"")]),
        "room below nothing": node.batch(results=[ResultRow(0, -7, 1, 1, b"")]),
        "batch id too large": Batch(2**63, "node-a", (mark,)),
    }


async def test_malformed_batches_are_poisoned_and_leave_nothing(store: Store) -> None:
    node = await owner(store, 0)
    await store.create_person(1, "ann", 100)
    sound = {"results": (ResultRow(0, 8, 1, 1, b"r"),), "scores": (ScoreRow(0, 8, "s", "q", 1, 1),)}
    for what, batch in _malformed(node).items():
        rows = {name: (*getattr(batch, name), *more) for name, more in sound.items()}
        whole = Batch(**{name: getattr(batch, name) for name in Batch.__slots__} | rows)
        with pytest.raises(Poisoned):
            await store.commit(whole)
        assert await store.balance(1) == 100, what
        assert await store.results(8, 10) == (), what
        assert await store.scores("q", 10) == (), what
        assert await store.verdicts(["h", "h0"]) == (), what
    assert (await node.commit(holds=[hold("h", 100)])).balances == ((1, 0),)


async def test_a_poisoned_batch_may_come_again_mended_under_its_id(store: Store) -> None:
    node = await owner(store, 0)
    batch = node.batch(settles=[Settle(0, 7, "never held", 1)])
    with pytest.raises(Poisoned):
        await store.commit(batch)
    mended = Batch(batch.batch_id, batch.node, batch.marks)
    assert (await store.commit(mended)).fenced == frozenset()


async def test_the_end_of_a_room_frees_its_code(store: Store) -> None:
    node = await owner(store, 0)
    await store.create_room(room_row(7, "AAAAAA"))
    await node.commit(ends=[RoomEnd(0, 7), RoomEnd(0, 99)])
    assert await store.room_by_code("AAAAAA") is None
    assert await store.create_room(room_row(8, "AAAAAA")) is not None
    await node.commit(ends=[RoomEnd(0, 7)])
    found = await store.room_by_code("AAAAAA")
    assert found is not None
    assert found.room_id == 8


async def test_a_new_owner_learns_how_many_links_a_journal_has(store: Store) -> None:
    node = await owner(store, 0, 1)
    await node.commit(entries=[entry(7, 1), entry(7, 2)])
    await node.commit()
    await node.commit(entries=[entry(7, 3)])
    states = await store.take_shards("node-b", [0, 1])
    assert [state.link for state in states] == [2, 0]


async def test_signed_heads_are_kept_once(store: MemoryStore | PostgresStore) -> None:
    row = SignedHead(0, 1, 1, bytes(32), 1, b"key", b"signature")
    await store.save_heads([])
    await store.save_heads([row, replace(row, shard=1)])
    await store.save_heads([replace(row, signature=b"another")])
