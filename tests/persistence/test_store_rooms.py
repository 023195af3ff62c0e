"""Rooms and their snapshots on both stores."""

from dataclasses import replace

import pytest

from persistence.interfaces import (
    INTEGER_MAX,
    Poisoned,
    RoomEnd,
    RoomStatus,
    ShardMark,
    Store,
    TooManyRooms,
)
from tests.persistence.builders import Node, owner, room_row, snapshot_row


def _marks(node: Node) -> tuple[ShardMark, ...]:
    return node.batch().marks


async def test_a_room_is_found_by_id_and_by_code(store: Store) -> None:
    row = room_row(7, "ABCDEF", settings=b"\0\xff", listed=False, creator=2**53 - 1)
    assert await store.create_room(row) == row
    assert await store.room(7) == row
    assert await store.room_by_code("ABCDEF") == row
    assert await store.room(8) is None
    assert await store.room_by_code("ABCDEG") is None
    assert await store.room_by_code("A\0\ud800") is None


async def test_creating_again_with_the_same_key_finds_the_standing_room(store: Store) -> None:
    row = room_row(7, "AAAAAA", create_key=b"k")
    await store.create_room(row)
    assert await store.create_room(room_row(8, "BBBBBB", create_key=b"k")) == row
    assert await store.room(8) is None
    other = room_row(9, "CCCCCC", create_key=b"k", creator=2)
    assert await store.create_room(other) == other


async def test_creating_again_finds_the_room_even_after_its_end(store: Store) -> None:
    await store.create_room(room_row(7, "AAAAAA", create_key=b"k"))
    await (await owner(store, 0)).commit(ends=[RoomEnd(0, 7)])
    again = await store.create_room(room_row(8, "AAAAAA", create_key=b"k"))
    assert again is not None
    assert (again.room_id, again.status) == (7, RoomStatus.ENDED)


async def test_a_taken_id_or_code_makes_no_room(store: Store) -> None:
    await store.create_room(room_row(7, "AAAAAA"))
    assert await store.create_room(room_row(7, "BBBBBB", create_key=b"other")) is None
    assert await store.create_room(room_row(8, "AAAAAA", create_key=b"other")) is None
    assert await store.room_by_code("BBBBBB") is None


async def test_a_creator_has_so_many_rooms_that_have_not_ended_and_no_more(store: Store) -> None:
    node = await owner(store, 0)
    for room_id in (7, 8):
        assert await store.create_room(room_row(room_id), 2) == room_row(room_id)
    for most in (2, 1, 0):
        with pytest.raises(TooManyRooms):
            await store.create_room(room_row(9), most)
    assert await store.room(9) is None
    assert await store.create_room(room_row(10, create_key=b"key-7"), 2) == room_row(7)
    assert await store.create_room(room_row(10, creator=2), 2) == room_row(10, creator=2)
    assert await store.create_room(room_row(10), 3) is None
    assert await store.create_room(room_row(11, "R00007"), 3) is None

    await store.set_aside(7, "broken")
    with pytest.raises(TooManyRooms):
        await store.create_room(room_row(9), 2)
    await node.commit(ends=[RoomEnd(0, 8)])
    assert await store.create_room(room_row(9), 2) == room_row(9)
    with pytest.raises(TooManyRooms):
        await store.create_room(room_row(12), 2)
    ended = await store.create_room(room_row(12, create_key=b"key-8"), 2)
    assert ended is not None
    assert (ended.room_id, ended.status) == (8, RoomStatus.ENDED)
    assert await store.create_room(room_row(12)) == room_row(12)  # There need be no limit.
    with pytest.raises(Poisoned):
        await store.create_room(room_row(13), -1)


async def test_malformed_rooms_are_poisoned(store: Store) -> None:
    for other in (
        {"create_key": b""},
        {"create_key": bytes(65)},
        {"code": "A\0"},
        {"game": "x" * 201},
        {"room_id": 2**53},
        {"rules_version": -1},
    ):
        with pytest.raises(Poisoned):
            await store.create_room(room_row(**{"room_id": 7} | other))
    assert await store.rooms(None, listed=False, limit=10) == ()


async def test_rooms_are_listed_newest_first(store: Store) -> None:
    await store.create_room(room_row(9))
    await store.create_room(room_row(7, listed=False))
    await store.create_room(room_row(8, game="quiz"))
    await store.create_room(room_row(6))

    async def listed(game: str | None, *, listed: bool = True, limit: int = 10) -> list[int]:
        return [row.room_id for row in await store.rooms(game, listed=listed, limit=limit)]

    assert await listed(None) == [6, 8, 9]
    assert await listed(None, listed=False) == [6, 8, 7, 9]
    assert await listed("keno") == [6, 9]
    assert await listed("keno", listed=False, limit=2) == [6, 7]
    assert await listed("chess") == []
    await (await owner(store, 0)).commit(ends=[RoomEnd(0, 6)])
    await store.set_aside(9, "broken")
    assert await listed(None) == [8, 9]


async def test_open_rooms_are_those_of_the_shards_that_still_run(store: Store) -> None:
    node = await owner(store, 0, 1, 2)
    for room_id, shard in ((9, 0), (5, 1), (7, 0), (6, 2), (4, 0)):
        await store.create_room(room_row(room_id, shard=shard))
    await node.commit(ends=[RoomEnd(0, 7)])
    await store.set_aside(4, "broken")
    assert [row.room_id for row in await store.open_rooms([0, 1])] == [9, 5]
    assert [row.room_id for row in await store.open_rooms({2})] == [6]
    assert await store.open_rooms([]) == ()


async def test_a_room_that_was_set_aside_can_be_opened_again(store: Store) -> None:
    row = room_row(7, "AAAAAA")
    await store.create_room(row)
    await store.set_aside(7, "first")
    await store.set_aside(7, "second \0 \ud800")
    aside = replace(row, status=RoomStatus.SET_ASIDE, note="second ? ?")
    assert await store.room(7) == aside
    assert await store.room_by_code("AAAAAA") == aside
    assert await store.reopen(7)
    assert await store.room(7) == row
    assert not await store.reopen(7)
    assert not await store.reopen(8)
    await store.set_aside(8, "unknown")


async def test_a_room_that_has_ended_is_neither_set_aside_nor_opened(store: Store) -> None:
    node = await owner(store, 0)
    await store.create_room(room_row(7))
    await store.create_room(room_row(8))
    await store.set_aside(8, "broken")
    await node.commit(ends=[RoomEnd(0, 7), RoomEnd(0, 8)])
    await store.set_aside(7, "late")
    assert not await store.reopen(7)
    assert not await store.reopen(8)
    for room_id in (7, 8):
        row = await store.room(room_id)
        assert row is not None
        assert row.status == RoomStatus.ENDED


async def test_the_two_newest_snapshots_of_a_room_are_kept(store: Store) -> None:
    node = await owner(store, 0)
    await store.create_room(room_row(7))
    await store.create_room(room_row(8))
    await store.save_snapshots([snapshot_row(7, 10), snapshot_row(8, 5)], _marks(node), 0)
    await store.save_snapshots([snapshot_row(7, 30), snapshot_row(7, 20)], _marks(node), 0)
    assert await store.snapshots(7) == (snapshot_row(7, 30), snapshot_row(7, 20))
    assert await store.snapshots(8) == (snapshot_row(8, 5),)
    assert await store.snapshots(9) == ()


async def test_snapshots_stay_as_long_as_somebody_may_want_what_happened_since(
    store: Store,
) -> None:
    node = await owner(store, 0)
    await store.create_room(room_row(7))
    await store.create_room(room_row(8))

    async def kept(room_id: int) -> list[int]:
        numbers: list[int] = []
        until_tick = INTEGER_MAX
        while rows := await store.snapshots(room_id, until_tick):
            numbers += [row.number for row in rows]
            until_tick = rows[-1].tick - 1
        return numbers

    for number in (10, 20, 30, 40):  # Of ticks 20, 40, 60, 80.
        rows = [snapshot_row(7, number), snapshot_row(8, number)]
        await store.save_snapshots(rows, _marks(node), 1000)
    assert await kept(7) == [40, 30, 20, 10]
    await store.save_snapshots([snapshot_row(7, 50)], _marks(node), 40)
    assert await kept(7) == [50, 40, 30, 20]  # Tick 60 is just young enough; 40 is the next older.
    assert await kept(8) == [40, 30, 20, 10]
    await store.save_snapshots([snapshot_row(7, 60)], _marks(node), 0)
    assert await kept(7) == [60, 50]
    await store.save_snapshots([snapshot_row(7, 600)], _marks(node), 100)
    assert await kept(7) == [600, 60]
    assert [row.number for row in await store.snapshots(7, 1199)] == [60]
    assert await store.snapshots(7, 119) == ()
    with pytest.raises(Poisoned):
        await store.save_snapshots([], _marks(node), -1)


async def test_a_snapshot_replaces_one_of_the_same_number(store: Store) -> None:
    node = await owner(store, 0)
    await store.create_room(room_row(7))
    rows = [snapshot_row(7, 10, b"one"), snapshot_row(7, 10, b"two")]
    await store.save_snapshots(rows, _marks(node), 0)
    assert await store.snapshots(7) == (rows[1],)
    await store.save_snapshots([snapshot_row(7, 10, b"three")], _marks(node), 0)
    assert [row.payload for row in await store.snapshots(7)] == [b"three"]


async def test_snapshots_of_a_former_owner_are_skipped(store: Store) -> None:
    before = await owner(store, 0, 1)
    await store.create_room(room_row(7))
    await store.create_room(room_row(8, shard=1))
    await owner(store, 0, name="node-b")
    rows = [snapshot_row(7, 1), snapshot_row(8, 1), snapshot_row(9, 1)]
    await store.save_snapshots(rows, _marks(before), 0)
    assert await store.snapshots(7) == ()
    assert await store.snapshots(8) == (rows[1],)
    assert await store.snapshots(9) == ()


async def test_snapshots_do_not_look_at_heads(store: Store) -> None:
    await owner(store, 0)
    await store.create_room(room_row(7))
    mark = ShardMark(0, 1, 0, bytes([9]) * 32, bytes([9]) * 32)
    await store.save_snapshots([snapshot_row(7, 1)], [mark], 0)
    assert len(await store.snapshots(7)) == 1
    await store.save_snapshots([], [mark], 0)
    await store.save_snapshots([snapshot_row(7, 2)], [], 0)
    assert len(await store.snapshots(7)) == 1


async def test_a_malformed_snapshot_is_poisoned(store: Store) -> None:
    node = await owner(store, 0)
    await store.create_room(room_row(7))
    with pytest.raises(Poisoned):
        await store.save_snapshots([snapshot_row(7, 1), snapshot_row(7, -1)], _marks(node), 0)
    assert await store.snapshots(7) == ()
