"""The worlds that can be fought over: territories, borders, regions and what these are worth.

Knows how a world is written down and what makes one playable. Knows no player and no troops.

    WorldError      a world that cannot be played; the message says what is wrong with it

A world is written as text, one region or territory a line; a border is named once, on either
side of it. Coordinates are for drawing, on a field of 100 by 60:

    region Frostmark 4
      Hoarhaven 10 8: Rimewatch, Winterwold
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

WIDTH, HEIGHT = 100, 60

_REGION = re.compile(r"region (?P<name>[A-Z][A-Za-z ]*) (?P<bonus>[0-9]+)")
_TERRITORY = re.compile(
    r" +(?P<name>[A-Z][A-Za-z ]*) (?P<x>[0-9]+) (?P<y>[0-9]+)(: (?P<borders>.+))?"
)


class WorldError(ValueError):
    """A world that cannot be played."""


@dataclass(frozen=True, slots=True)
class World:
    """A world. Territories and regions are numbered from 0, in the order of the text.

    ``version`` is raised with every change, so that a client knows whether its picture fits.
    """

    name: str
    version: int
    region_names: tuple[str, ...]
    region_bonuses: tuple[int, ...]
    territory_names: tuple[str, ...]
    territory_regions: tuple[int, ...]
    places: tuple[tuple[int, int], ...]
    neighbours: tuple[tuple[int, ...], ...]

    def members(self, region: int) -> tuple[int, ...]:
        """Return the territories of a region."""
        return tuple(at for at, home in enumerate(self.territory_regions) if home == region)

    def check(self) -> None:
        """Raise WorldError unless the world hangs together, and so does each of its regions."""
        everywhere = tuple(range(len(self.territory_names)))
        _check_whole(self, everywhere, f"world {self.name}")
        for region, name in enumerate(self.region_names):
            _check_whole(self, self.members(region), f"region {name}")
        for x, y in self.places:
            if x > WIDTH or y > HEIGHT:
                raise WorldError(f"{x} {y} is outside of the field")
        if len(set(self.places)) < len(self.places):
            raise WorldError("two territories lie at one place")


def read_world(name: str, version: int, text: str) -> World:
    """Return the world that the text describes, checked."""
    regions: list[tuple[str, int]] = []
    rows: list[tuple[str, int, tuple[int, int], str]] = []
    for line in filter(str.strip, text.splitlines()):
        if match := _REGION.fullmatch(line):
            regions.append((match["name"], int(match["bonus"])))
        elif (match := _TERRITORY.fullmatch(line)) and regions:
            place = (int(match["x"]), int(match["y"]))
            rows.append((match["name"], len(regions) - 1, place, match["borders"] or ""))
        else:
            raise WorldError(f"neither a region nor a territory of one: {line.strip()}")
    names = tuple(row[0] for row in rows)
    _check_different([*names, *(region for region, _ in regions)])
    world = World(
        name,
        version,
        region_names=tuple(region for region, _ in regions),
        region_bonuses=tuple(bonus for _, bonus in regions),
        territory_names=names,
        territory_regions=tuple(row[1] for row in rows),
        places=tuple(row[2] for row in rows),
        neighbours=_neighbours(names, [row[3] for row in rows]),
    )
    world.check()
    return world


def _check_different(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise WorldError(f"{name} is there twice")
        seen.add(name)


def _neighbours(names: tuple[str, ...], borders: list[str]) -> tuple[tuple[int, ...], ...]:
    numbers = {name: number for number, name in enumerate(names)}
    beside: list[set[int]] = [set() for _ in names]
    for number, named in enumerate(borders):
        for other in filter(None, named.split(", ")):
            if other not in numbers:
                raise WorldError(f"{names[number]} has a border with {other}, which is nowhere")
            there = numbers[other]
            if there == number or there in beside[number]:
                raise WorldError(f"the border of {names[number]} with {other} is one too many")
            beside[number].add(there)
            beside[there].add(number)
    return tuple(tuple(sorted(each)) for each in beside)


def _check_whole(world: World, members: tuple[int, ...], what: str) -> None:
    """All members can be reached from the first without leaving them."""
    if not members:
        raise WorldError(f"{what} is empty")
    reached = {members[0]}
    waiting = [members[0]]
    while waiting:
        for there in world.neighbours[waiting.pop()]:
            if there in members and there not in reached:
                reached.add(there)
                waiting.append(there)
    if len(reached) < len(members):
        raise WorldError(f"{what} falls apart")


HALCYRA = read_world(
    "halcyra",
    1,
    """
region Frostmark 4
  Hoarhaven 10 8: Rimewatch, Winterwold
  Rimewatch 20 6: Palefell, Winterwold, Greycairn
  Palefell 30 10: Icemere, Greycairn, Snowgate
  Icemere 41 6: Snowgate, Mossgard
  Winterwold 14 17: Greycairn, Gullrock
  Greycairn 25 18: Snowgate, Millrace
  Snowgate 38 17: Duskhollow, Harrowby
region Thornwood 4
  Mossgard 52 8: Briarfell, Duskhollow
  Briarfell 62 6: Elderholt, Fernreach, Duskhollow
  Elderholt 73 8: Fernreach, Nightglade, Wolfden
  Duskhollow 55 17: Fernreach, Crownhill
  Fernreach 66 16: Nightglade, Cinderfall
  Nightglade 78 17: Wolfden, Emberwatch
  Wolfden 86 9
region Sunder Isles 2
  Gullrock 6 27: Saltspire, Brinemoor
  Saltspire 15 31: Brinemoor, Stormtooth, Millrace
  Brinemoor 6 39: Stormtooth, Kelphold
  Stormtooth 16 42: Kelphold
  Kelphold 9 51: Palmcove
region Goldenvale 7
  Millrace 27 29: Harrowby, Oxwade
  Harrowby 37 26: Barleyton, Larkfield, Oxwade
  Barleyton 47 25: Crownhill, Larkfield, Stonebarrow
  Crownhill 57 27: Stonebarrow, Eastwarden, Cinderfall
  Oxwade 31 38: Larkfield, Vinegate
  Larkfield 42 34: Stonebarrow, Vinegate
  Stonebarrow 51 36: Vinegate, Eastwarden, Sandmouth
  Vinegate 40 44: Turtlebay
  Eastwarden 62 37: Charplain
region Ashen Steppe 5
  Cinderfall 71 27: Emberwatch, Charplain
  Emberwatch 82 25: Dustmarket, Charplain, Sootholm
  Dustmarket 92 28: Sootholm, Windscar
  Charplain 73 37: Sootholm, Redmesa
  Sootholm 84 36: Windscar, Redmesa
  Windscar 94 39: Farkeep
  Redmesa 79 46: Farkeep, Lagoonport
  Farkeep 91 50
region Coral Reach 3
  Palmcove 23 53: Turtlebay
  Turtlebay 35 54: Pearlhaven, Reefend
  Pearlhaven 46 50: Sandmouth, Reefend
  Sandmouth 56 47: Lagoonport, Reefend
  Lagoonport 67 52
  Reefend 49 58
""",
)

TARN = read_world(
    "tarn",
    1,
    """
region Uppertarn 2
  Heronstead 22 9: Reedbank, Mistpool, Foxbarrow
  Reedbank 42 7: Otterwash, Mistpool
  Otterwash 58 11: Mistpool, Appledown
  Mistpool 40 19: Jackstone
region Eastfold 2
  Appledown 74 11: Beehollow, Clovermead
  Beehollow 89 19: Clovermead, Doveholt
  Clovermead 72 25: Doveholt, Jackstone
  Doveholt 87 36: Kingsferry
region Westfold 2
  Foxbarrow 9 26: Gorseley, Hazelwick
  Gorseley 23 34: Hazelwick, Ivymoor, Jackstone
  Hazelwick 11 48: Ivymoor
  Ivymoor 30 49: Lockend
region Nethertarn 1
  Jackstone 50 33: Kingsferry, Lockend
  Kingsferry 67 42: Lockend
  Lockend 50 52
""",
)

WORLDS = {world.name: world for world in (HALCYRA, TARN)}
