"""The index of rooms in every directory: what can be found, in which order, and for how long."""

from persistence.directory import RoomLine
from tests.persistence.directories import Directories, line

LIFE_MS = 10_000
SHORT_MS = 60
LONGER_MS = 90


def ids(found: tuple[RoomLine, ...]) -> list[int]:
    return [one.room_id for one in found]


async def test_a_published_room_comes_back_as_it_was(directories: Directories) -> None:
    directory, other = await directories.open(), await directories.open()
    room = RoomLine(2**53 - 1, "QWERTY", "keno", 4_095, 900, 1_000, 2**53 - 1)
    await directory.publish([room], (), LIFE_MS)
    assert await other.places("keno", 10) == (room,)
    assert await other.lines([room.room_id]) == (room,)


async def test_of_rooms_that_are_equally_full_the_newest_come_first(
    directories: Directories,
) -> None:
    directory = await directories.open()
    serials = {1: 10, 2: 2**40, 3: 9, 4: 255, 5: 256}
    await directory.publish(
        [line(room_id, serial=serial) for room_id, serial in serials.items()], (), LIFE_MS
    )
    assert ids(await directory.places("quiz", 10)) == [2, 5, 4, 1, 3]
    assert ids(await directory.places("quiz", 2)) == [2, 5]
    assert await directory.places("quiz", 0) == ()


async def test_games_are_kept_apart_whatever_their_names(directories: Directories) -> None:
    directory = await directories.open()
    games = ["quiz", "qui", "quiz2", "q", "ö", "quiz:", "", "quiz\x7f"]
    await directory.publish(
        [line(number, game=game) for number, game in enumerate(games, 1)], (), LIFE_MS
    )
    for number, game in enumerate(games, 1):
        assert ids(await directory.places(game, 10)) == [number]
    assert await directory.places("chess", 10) == ()


async def test_places_are_in_the_fullest_rooms_first_and_of_those_in_the_newest(
    directories: Directories,
) -> None:
    directory = await directories.open()
    taken = {1: 3, 2: 0, 3: 3, 4: 2, 5: 4, 6: 12}
    await directory.publish(
        [
            line(room_id, seats_taken=seats, seats_max=100 if room_id == 6 else 4)
            for room_id, seats in taken.items()
        ],
        (),
        LIFE_MS,
    )
    assert ids(await directory.places("quiz", 10)) == [6, 3, 1, 4, 2]
    assert ids(await directory.places("quiz", 2)) == [6, 3]


async def test_a_room_that_is_published_again_changes_its_place(directories: Directories) -> None:
    directory = await directories.open()
    await directory.publish([line(1, seats_taken=3), line(2)], (), LIFE_MS)
    await directory.publish([line(1, seats_taken=4)], (), LIFE_MS)
    assert ids(await directory.places("quiz", 10)) == [2]
    await directory.publish([line(1, seats_taken=0, code="NEWONE")], (), LIFE_MS)
    assert ids(await directory.places("quiz", 10)) == [2, 1]
    assert await directory.places("quiz", 10) == (line(2), line(1, seats_taken=0, code="NEWONE"))


async def test_what_is_gone_is_found_no_more(directories: Directories) -> None:
    directory = await directories.open()
    await directory.publish([line(1), line(2)], (), LIFE_MS)
    await directory.publish([], [1, 77], LIFE_MS)
    assert ids(await directory.places("quiz", 10)) == [2]
    assert ids(await directory.places("quiz", 10)) == [2]
    assert await directory.lines([1, 2]) == (line(2),)
    await directory.publish([line(1)], (), LIFE_MS)
    assert ids(await directory.places("quiz", 10)) == [2, 1]


async def test_a_room_that_goes_and_comes_in_one_call_is_there(directories: Directories) -> None:
    directory = await directories.open()
    await directory.publish([line(1)], (), LIFE_MS)
    await directory.publish([line(1)], [1], LIFE_MS)
    assert ids(await directory.places("quiz", 10)) == [1]


async def test_rooms_lapse_unless_they_are_published_again(directories: Directories) -> None:
    directory = await directories.open()
    await directory.publish([line(1), line(2), line(3)], (), SHORT_MS)
    await directory.publish([line(2)], (), LIFE_MS)
    await directories.pass_ms(LONGER_MS)
    assert ids(await directory.places("quiz", 10)) == [2]
    assert ids(await directory.places("quiz", 10)) == [2]
    assert await directory.lines([1, 2, 3]) == (line(2),)


async def test_what_has_lapsed_hides_nothing_behind_it(directories: Directories) -> None:
    directory = await directories.open()
    await directory.publish([line(1)], (), LIFE_MS)
    # Long enough for all to be there at once, and more than one call sweeps away.
    await directory.publish([line(room_id) for room_id in range(2, 3_000)], (), 1_500)
    await directories.pass_ms(1_600)
    assert ids(await directory.places("quiz", 5)) == [1]
    assert ids(await directory.places("quiz", 5)) == [1]


async def test_lines_come_in_the_order_asked(directories: Directories) -> None:
    directory = await directories.open()
    await directory.publish([line(1), line(2), line(3)], (), LIFE_MS)
    assert ids(await directory.lines([3, 9, 1, 3])) == [3, 1, 3]
    assert await directory.lines([]) == ()


async def test_a_wiped_index_is_filled_by_what_is_published_again(
    directories: Directories,
) -> None:
    directory = await directories.open()
    await directory.publish([line(1), line(2)], (), LIFE_MS)
    await directories.wipe()
    assert await directory.places("quiz", 10) == ()
    await directory.publish([line(2)], (), LIFE_MS)
    assert ids(await directory.places("quiz", 10)) == [2]
