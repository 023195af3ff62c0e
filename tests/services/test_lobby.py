"""Rooms made once, found, and filled one after the other."""

import asyncio
from collections.abc import Sequence
from random import Random

import msgspec

from gameserver.services.lobby import CODE_LETTERS, LIST_LIFE_NS, Lobby, LobbyLimits
from gameserver.services.refusals import Refusal
from persistence.directory import DirectoryUnavailable, RoomLine
from persistence.interfaces import RoomEnd, RoomRow
from persistence.memory import MemoryStore
from persistence.memory_directory import DirectoryWorld, MemoryDirectory
from persistence.ownership import DEFAULT_SHARDS
from protocol.messages import ReplyCode
from tests.persistence.builders import owner
from tests.services.games import TinyGame


class Seats:
    """How full rooms are, as a test says."""

    def __init__(self) -> None:
        self.taken: dict[int, int] = {}
        self.sitting: set[tuple[int, int]] = set()
        self.prepared: list[int] = []
        self.elsewhere: set[int] = set()  # Shards of other nodes.
        self.is_overloaded = False

    def seats(self, room_id: int) -> tuple[int, int] | None:
        taken = self.taken.get(room_id)
        return None if taken is None else (taken, TinyGame.seats_max)

    def seats_claimed(self, room_id: int) -> int:
        return self.taken.get(room_id, 0)

    def new_room(self, chance: Random) -> tuple[int, int]:
        room_id = 1 + chance.randrange(2**40)
        return room_id, room_id % DEFAULT_SHARDS

    def has(self, shard: int) -> bool:
        return shard not in self.elsewhere

    def has_seat(self, room_id: int, account: int) -> bool:
        return (room_id, account) in self.sitting

    async def prepare(self, row: RoomRow) -> None:
        self.prepared.append(row.room_id)

    def turned_away(self) -> int:
        return 1_234


class Rig:
    """A lobby and all that it looks at."""

    def __init__(self, store: MemoryStore | None = None, **limits: int) -> None:
        self.store = store or MemoryStore()
        self.seats = Seats()
        self.now_ns = 0
        bounds = LobbyLimits(**({"rooms_max": 100, "rooms_per_account_max": 3} | limits))
        self.lobby = Lobby(
            self.store, {TinyGame.name: TinyGame()}, self.seats, bounds, lambda: self.now_ns
        )

    async def create(
        self, account: int = 1, key: bytes = b"k", settings: bytes = b"", *, listed: bool = True
    ) -> RoomRow:
        """Make a room that nothing speaks against."""
        row = await self.lobby.create(account, "tiny", key, listed=listed, settings=settings)
        assert isinstance(row, RoomRow), row
        return row

    async def refused(
        self, account: int = 1, key: bytes = b"k", settings: bytes = b""
    ) -> ReplyCode:
        """Try to make a room; return why it was not made."""
        refusal = await self.lobby.create(account, "tiny", key, listed=True, settings=settings)
        assert isinstance(refusal, Refusal), refusal
        return refusal.code

    async def any(self, account: int = 1, *tried: int, watch: bool = False) -> int:
        """Place somebody; return the room."""
        row = await self.lobby.any(account, "tiny", frozenset(tried), watch=watch)
        assert isinstance(row, RoomRow), row
        return row.room_id


async def test_a_room_has_a_code_that_can_be_read_aloud_and_is_found_by_it() -> None:
    rig = Rig()
    row = await rig.create()
    assert len(row.code) == 6
    assert set(row.code) <= set(CODE_LETTERS)
    assert await rig.lobby.by_code(f" {row.code.lower()} ") == row
    assert await rig.lobby.by_id(row.room_id) == row
    assert 0 <= row.shard < 64


async def test_the_same_key_of_the_same_account_finds_the_same_room() -> None:
    rig = Rig()
    first = await rig.create(1, b"a")
    assert await rig.create(1, b"a") == first
    assert (await rig.create(2, b"a")).room_id != first.room_id
    assert (await rig.create(1, b"b")).room_id != first.room_id


async def test_a_room_that_was_made_is_opened_even_if_nobody_comes() -> None:
    rig = Rig()
    first = await rig.create()
    assert rig.seats.prepared == [first.room_id]


async def test_a_repeat_finds_the_room_after_a_restart_too() -> None:
    rig = Rig(rooms_per_account_max=1)
    first = await rig.create()
    again = Rig(rig.store, rooms_per_account_max=1)
    assert await again.create() == first
    assert await again.refused(key=b"other") is ReplyCode.TOO_MANY_ROOMS


async def test_settings_are_checked_and_kept_whole() -> None:
    rig = Rig()
    row = await rig.create(settings=msgspec.msgpack.encode({"pace": 7}))
    assert msgspec.msgpack.decode(row.settings) == {"pace": 7}
    row = await rig.create(key=b"defaults")
    assert msgspec.msgpack.decode(row.settings) == {"pace": 3}
    for wrong in ({"pace": 10}, {"pace": "x"}, {"speed": 1}, [1], 5):
        encoded = msgspec.msgpack.encode(wrong)
        assert await rig.refused(key=b"wrong", settings=encoded) is ReplyCode.BAD_SETTINGS
    assert await rig.refused(key=b"wrong", settings=b"\xc1") is ReplyCode.BAD_SETTINGS


async def test_rooms_are_counted_by_account_and_in_all_until_they_end() -> None:
    rig = Rig(rooms_max=4, rooms_per_account_max=3)
    rows = [await rig.create(1, bytes((number,))) for number in range(3)]
    assert await rig.refused(1, b"x") is ReplyCode.TOO_MANY_ROOMS
    assert await rig.create(1, b"\x00") == rows[0], "a repeat is no new room"
    await rig.create(2)
    assert await rig.refused(3) is ReplyCode.TOO_MANY_ROOMS
    host = await owner(rig.store, rows[0].shard)
    await host.commit(ends=[RoomEnd(rows[0].shard, rows[0].room_id)])
    rig.lobby.closed(rows[0].room_id)
    rig.lobby.closed(rows[0].room_id)
    await rig.create(1, b"x")
    assert await rig.refused(1, b"y") is ReplyCode.TOO_MANY_ROOMS


async def test_rooms_that_were_made_elsewhere_count_too() -> None:
    here = Rig(rooms_per_account_max=3)
    elsewhere = Rig(here.store, rooms_per_account_max=3)
    for number in range(3):
        await elsewhere.create(1, bytes((number,)))
    assert await here.refused(1, b"x") is ReplyCode.TOO_MANY_ROOMS
    await here.create(1, b"\x00")


async def test_requests_at_the_same_time_do_not_pass_the_limit_together() -> None:
    rig = Rig()
    async with asyncio.TaskGroup() as tasks:
        made = [
            tasks.create_task(
                rig.lobby.create(1, "tiny", bytes((number,)), listed=True, settings=b"")
            )
            for number in range(8)
        ]
    assert sum(isinstance(task.result(), RoomRow) for task in made) == 3


async def test_an_unknown_game_is_refused_everywhere() -> None:
    lobby = Rig().lobby
    for answer in (
        await lobby.create(1, "chess", b"k", listed=True, settings=b""),
        await lobby.any(1, "chess", frozenset(), watch=False),
        await lobby.list("chess"),
    ):
        assert isinstance(answer, Refusal)
        assert answer.code is ReplyCode.UNKNOWN_GAME


async def test_any_fills_a_room_before_it_makes_another() -> None:
    rig = Rig()
    rooms = [await rig.any(account) for account in range(1, 6)]
    assert [rooms.count(room_id) for room_id in dict.fromkeys(rooms)] == [2, 2, 1]


async def test_a_hundred_who_come_at_once_do_not_make_a_hundred_rooms() -> None:
    rig = Rig()
    async with asyncio.TaskGroup() as tasks:
        placed = [tasks.create_task(rig.any(account)) for account in range(1, 101)]
    assert len({task.result() for task in placed}) == 50


async def test_a_seat_is_kept_until_its_player_is_in_the_room() -> None:
    rig = Rig()
    room_id = await rig.any(1)
    rig.lobby.placed(room_id)
    rig.seats.taken[room_id] = 1
    assert await rig.any(2) == room_id
    other_id = await rig.any(3)
    assert other_id != room_id
    rig.lobby.placed(room_id)
    assert await rig.any(4, other_id) == room_id, "who was given the seat gave it up"


async def test_who_watches_needs_no_seat() -> None:
    rig = Rig()
    row = await rig.create()
    rig.seats.taken[row.room_id] = 2
    assert await rig.any(watch=True) == row.room_id
    assert await rig.any() != row.room_id


async def test_any_passes_over_rooms_that_were_tried_or_are_not_listed() -> None:
    rig = Rig()
    hidden = await rig.create(listed=False)
    first = await rig.any()
    assert first != hidden.room_id
    assert await rig.any(1, first) not in (first, hidden.room_id)


async def test_a_room_made_elsewhere_is_seen_after_a_moment() -> None:
    rig = Rig()
    first = await rig.any()
    other = await Rig(rig.store).create(9)
    second = await rig.any(1, first)
    assert second != other.room_id
    rig.now_ns += LIST_LIFE_NS
    assert await rig.any(1, first, second) == other.room_id


async def test_any_prefers_the_fullest_room() -> None:
    rig = Rig()
    rows = [await rig.create(key=bytes((number,))) for number in range(3)]
    rig.seats.taken |= {rows[0].room_id: 0, rows[1].room_id: 1, rows[2].room_id: 2}
    assert await rig.any() == rows[1].room_id


async def test_any_leads_a_player_back_to_the_seat_that_stands() -> None:
    rig = Rig()
    rows = [await rig.create(key=bytes((number,))) for number in range(3)]
    rig.seats.taken |= {rows[0].room_id: 2, rows[1].room_id: 1}
    rig.seats.sitting.add((rows[0].room_id, 7))
    assert await rig.any(7) == rows[0].room_id
    assert await rig.any(8) == rows[1].room_id
    assert await rig.any(7, rows[0].room_id) != rows[0].room_id, "unless it refused"


async def test_lists_show_listed_rooms_with_their_seats() -> None:
    rig = Rig()
    row = await rig.create()
    await rig.create(key=b"hidden", listed=False)
    aside = await rig.create(key=b"aside")
    await rig.store.set_aside(aside.room_id, "broken")
    rig.seats.taken[row.room_id] = 1
    for game in ("", "tiny"):
        listings = await rig.lobby.list(game)
        assert isinstance(listings, tuple)
        assert [(one.room_id, one.seats_taken, one.seats_max) for one in listings] == [
            (row.room_id, 1, 2)
        ]


async def test_rooms_of_other_nodes_are_listed_with_the_seats_that_the_index_knows() -> None:
    rig, index = await indexed()
    row = await rig.create()
    rig.seats.elsewhere.add(row.shard)
    assert await seats_listed(rig) == (0, 2)
    await index.publish([line(row, 1)], (), 1000)
    assert await seats_listed(rig) == (1, 2)


async def test_who_takes_any_room_is_led_to_a_free_seat_at_another_node() -> None:
    rig, index = await indexed()
    full, free = await rig.create(1, b"a"), await rig.create(1, b"b")
    rig.seats.elsewhere |= {full.shard, free.shard}
    await index.publish([line(full, 2), line(free, 1)], (), 1000)
    assert await rig.any(7) == free.room_id
    assert await rig.any(8) not in (full.room_id, free.room_id), "the last seat was given out"
    rig.lobby.placed(free.room_id)
    assert await rig.any(9, free.room_id) not in (full.room_id, free.room_id)


async def test_without_an_answer_of_the_index_lists_and_places_are_those_of_this_node() -> None:
    rig, index = await indexed()
    row = await rig.create()
    rig.seats.elsewhere.add(row.shard)
    await index.publish([line(row, 1)], (), 1000)
    index.is_away = True
    assert await seats_listed(rig) == (0, 2)
    assert await rig.any(7) != row.room_id


async def test_rooms_that_went_to_another_node_do_not_count_here() -> None:
    rig = Rig(rooms_max=2)
    rows = [await rig.create(1, b"a"), await rig.create(1, b"b")]
    assert await rig.refused(2) is ReplyCode.TOO_MANY_ROOMS
    assert await rig.create(1, b"b") == rows[1], "a repeat finds its room all the same"
    rig.seats.elsewhere.add(rows[0].shard)
    await rig.create(2)
    assert rows[0] not in rig.lobby.known


async def test_while_there_is_too_much_to_do_only_whoever_sits_there_is_let_in() -> None:
    rig = Rig()
    row = await rig.create(1, b"a")
    rig.seats.sitting.add((row.room_id, 7))
    rig.seats.is_overloaded = True
    assert await rig.refused(2) is ReplyCode.BUSY
    assert await rig.create(1, b"a") == row, "a repeat finds its room all the same"
    assert await rig.any(7) == row.room_id
    assert rig.lobby.admit(7, row) is None
    busy = Refusal(ReplyCode.BUSY, "the server has too much to do", 1_234)
    assert rig.lobby.admit(8, row) == busy
    for watch in (False, True):
        assert await rig.lobby.any(8, "tiny", frozenset(), watch=watch) == busy
    rig.seats.is_overloaded = False
    assert await rig.any(8) == row.room_id


async def test_who_finds_no_place_because_there_is_too_much_to_do_is_led_elsewhere() -> None:
    rig, index = await indexed()
    here, there = await rig.create(1, b"a"), await rig.create(1, b"b")
    rig.seats.elsewhere.add(there.shard)
    await index.publish([line(there, 1)], (), 1000)
    assert await rig.any(7) == here.room_id
    rig.seats.is_overloaded = True
    assert await rig.any(8) == there.room_id


class AwayIndex(MemoryDirectory):
    """An index that may be away."""

    is_away = False

    async def places(self, game: str, limit: int) -> tuple[RoomLine, ...]:
        if self.is_away:
            raise DirectoryUnavailable
        return await super().places(game, limit)

    async def lines(self, room_ids: Sequence[int]) -> tuple[RoomLine, ...]:
        if self.is_away:
            raise DirectoryUnavailable
        return await super().lines(room_ids)


async def indexed() -> tuple[Rig, AwayIndex]:
    """Return a lobby with an index of all nodes' rooms."""
    rig = Rig()
    index = AwayIndex(DirectoryWorld(), lambda: 0)
    await index.start("cluster")
    rig.lobby.index = index
    return rig, index


def line(row: RoomRow, seats_taken: int) -> RoomLine:
    """Return how a node shows one of its rooms to the others."""
    return RoomLine(row.room_id, row.code, row.game, row.shard, seats_taken, 2, 1)


async def seats_listed(rig: Rig) -> tuple[int, int]:
    """Return the seats of the only room in the list."""
    listings = await rig.lobby.list("tiny")
    assert isinstance(listings, tuple)
    assert len(listings) == 1
    return listings[0].seats_taken, listings[0].seats_max


class Forgetful(MemoryStore):
    """A store that finds no room."""

    async def room(self, room_id: int) -> RoomRow | None:
        return None


async def test_a_room_that_is_open_here_is_found_without_the_store() -> None:
    rig = Rig(Forgetful())
    row = await rig.create()
    assert await rig.lobby.by_id(row.room_id) is None, "the store knows what is not open here"
    rig.seats.taken[row.room_id] = 1
    assert await rig.lobby.by_id(row.room_id) == row
    rig.lobby.closed(row.room_id)
    assert await rig.lobby.by_id(row.room_id) is None
