"""The worlds hang together, and a world that does not is refused with the reason."""

from __future__ import annotations

import pytest

from gameserver.games.conquest.worlds import HALCYRA, TARN, WORLDS, World, WorldError, read_world

SMALL = """
region Here 2
  Anvil 1 1: Bellow
  Bellow 2 1: Crag
region There 3
  Crag 3 1
"""


def reached(world: World, members: set[int]) -> set[int]:
    """Return what can be reached from the lowest member without leaving them."""
    found, waiting = set(), [min(members)]
    while waiting:
        here = waiting.pop()
        if here not in found:
            found.add(here)
            waiting += [there for there in world.neighbours[here] if there in members]
    return found


@pytest.mark.parametrize("world", WORLDS.values(), ids=str)
def test_a_world_is_connected_and_so_is_each_of_its_regions(world: World) -> None:
    everywhere = set(range(len(world.territory_names)))
    assert reached(world, everywhere) == everywhere
    for region in range(len(world.region_names)):
        members = set(world.members(region))
        assert len(members) >= 3
        assert reached(world, members) == members


@pytest.mark.parametrize("world", WORLDS.values(), ids=str)
def test_a_border_has_two_sides_and_is_there_once(world: World) -> None:
    for here, beside in enumerate(world.neighbours):
        assert here not in beside
        assert list(beside) == sorted(set(beside))
        assert all(here in world.neighbours[there] for there in beside)
        assert 2 <= len(beside) <= 6


@pytest.mark.parametrize("world", WORLDS.values(), ids=str)
def test_no_name_and_no_place_is_there_twice(world: World) -> None:
    names = [*world.territory_names, *world.region_names]
    assert len(set(names)) == len(names)
    assert len(set(world.places)) == len(world.places) == len(world.territory_names)
    assert all(0 <= x <= 100 and 0 <= y <= 60 for x, y in world.places)


def test_the_worlds_have_their_sizes() -> None:
    assert (len(HALCYRA.territory_names), len(HALCYRA.region_names)) == (42, 6)
    assert (len(TARN.territory_names), len(TARN.region_names)) == (15, 4)
    for world in WORLDS.values():
        assert len(world.region_bonuses) == len(world.region_names)
        assert all(1 <= bonus <= 7 for bonus in world.region_bonuses)


def test_a_larger_region_is_worth_more_than_a_smaller_one() -> None:
    sizes = [len(HALCYRA.members(region)) for region in range(6)]
    for size, bonus in zip(sizes, HALCYRA.region_bonuses, strict=True):
        for other_size, other_bonus in zip(sizes, HALCYRA.region_bonuses, strict=True):
            assert size <= other_size or bonus >= other_bonus


def test_a_world_is_read_from_its_text() -> None:
    world = read_world("small", 3, SMALL)
    assert world.territory_names == ("Anvil", "Bellow", "Crag")
    assert world.territory_regions == (0, 0, 1)
    assert world.region_bonuses == (2, 3)
    assert world.neighbours == ((1,), (0, 2), (1,))
    assert world.places == ((1, 1), (2, 1), (3, 1))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("Crag 3 1", "Anvil 3 1", "Anvil is there twice"),
        ("region There", "region Here", "Here is there twice"),
        ("Crag 3 1", "Crag 3 1: Bellow", "the border of Crag with Bellow is one too many"),
        ("1 1: Bellow", "1 1: Anvil", "the border of Anvil with Anvil is one too many"),
        ("1 1: Bellow", "1 1: Doom", "Anvil has a border with Doom, which is nowhere"),
        ("2 1: Crag", "2 1", "world small falls apart"),
        ("1 1: Bellow", "1 1: Crag", "region Here falls apart"),
        ("  Crag 3 1", "", "is nowhere"),
        ("2 1: Crag\nregion There 3\n  Crag 3 1", "2 1\nregion There 3", "region There is empty"),
        ("Crag 3 1", "Crag 300 1", "300 1 is outside of the field"),
        ("Crag 3 1", "Crag 2 1", "two territories lie at one place"),
        ("Crag 3 1", "Crag three 1", "neither a region nor a territory of one: Crag three 1"),
        ("region Here 2", "", "neither a region nor a territory of one: Anvil 1 1: Bellow"),
        (SMALL, "", "world small is empty"),
    ],
)
def test_a_world_that_cannot_be_played_is_refused(before: str, after: str, message: str) -> None:
    assert before in SMALL
    with pytest.raises(WorldError, match=message):
        read_world("small", 1, SMALL.replace(before, after))
