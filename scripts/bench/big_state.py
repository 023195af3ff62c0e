"""What a room with thousands of records costs: a tick must cost what it changes.

    .venv/bin/python -m scripts.bench.big_state [--records 50,5000] [--runs 15] [--json FILE]

Figures are microseconds of CPU, the best and the median of the runs. A write is one recorded
assignment to a field, taken out of the change log with the others of its tick.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.commands import Command, Reason
from gameserver.engine.fields import public, table
from gameserver.engine.game import Game
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room
from scripts.bench.engine import ROOM_ID, WALL_MS, commanded, figures, timed_us
from scripts.bench.measuring import head, write_report

WRITES = 1_000
WRITES_A_TICK = 10


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How large the world is."""

    records: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 50


class Thing(Record):
    """One of many."""

    x: int = public(1, default=0)
    y: int = public(2, default=0)
    owner: int = public(3, default=0)
    kind: int = public(4, default=0)


class World(Record):
    """The things by number."""

    turn: int = public(1, default=0)
    things: Table[int, Thing] = table(2)


class Push(Command, frozen=True, tag=1):
    """Move one thing."""

    thing: Annotated[int, msgspec.Meta(ge=0, le=100_000)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check what a game would."""
        return None if self.thing in room.state.things else NO_SUCH_THING

    def execute(self, room: Room[Any], seat: int) -> None:
        """Move it."""
        thing = room.state.things[self.thing]
        thing.x += 1
        thing.owner = seat


NO_SUCH_THING = Reason(100, "NO_SUCH_THING")


class WorldGame(Game[World]):
    """Things that can be pushed."""

    name: ClassVar[str] = "world"
    title: ClassVar[str] = "World"
    seats_max: ClassVar[int] = 10
    state = World
    settings: ClassVar[type[msgspec.Struct]] = Settings
    commands: ClassVar[tuple[type[Command], ...]] = (Push,)
    reasons: ClassVar[tuple[Reason, ...]] = (NO_SUCH_THING,)

    def open(self, room: Room[World]) -> None:
        """Lay everything out."""
        for number in range(room.settings.records):
            room.state.things.add(number, Thing(x=number, y=number // 7, kind=number % 5))


@dataclass(frozen=True)
class Figure:
    """What one thing costs with so many records, in microseconds."""

    what: str
    records: int
    best: float
    median: float


def world(records: int) -> Room[World]:
    """Return a room with one player and so many records."""
    room: Room[World] = Room(WorldGame(), ROOM_ID)
    settings = msgspec.msgpack.encode(Settings(records))
    room.tick(1, [i.Opened(settings, bytes(32), WALL_MS), i.Sat(1)])
    return room


def measured(records: int, runs: int) -> list[Figure]:
    """Return what everything costs with so many records."""
    room = world(records)
    stored = snapshot.dump(room)
    numbers = itertools.count(1)

    def tick() -> None:
        number = next(numbers)
        room.tick(room.now + 1, (), [commanded(room, 0, number, Push(number * 7 % records))])

    def write() -> None:
        things, changes = room.state.things, room.changes
        for number in range(WRITES):
            things[number % records].x = next(numbers)
            if number % WRITES_A_TICK == 0:
                changes.items.clear()

    def full() -> None:
        tick()  # What has not changed is not packed anew.
        room.full(0)

    quick, slow = 100, 4
    works: list[tuple[str, Callable[[], object], int, int]] = [
        ("a tick with one command and two changes", tick, quick, 1),
        ("one recorded write", write, slow, WRITES),
        ("such a tick, and the full state after it", full, slow, 1),
        ("a snapshot", lambda: snapshot.dump(room), slow, 1),
        ("a snapshot read", lambda: snapshot.load(WorldGame(), stored), slow, 1),
    ]
    found = []
    for what, work, calls, parts in works:
        best, median = figures(runs, partial(timed_us, work, calls))
        found.append(Figure(what, records, best / parts, median / parts))
    return found


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", default="50,5000")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", metavar="FILE", type=Path)
    arguments = parser.parse_args(argv)
    report = head("scripts.bench.big_state", argv)
    found: list[Figure] = []
    for records in map(int, arguments.records.split(",")):
        gc.collect()
        gc.freeze()
        full, _ = world(records).full(0)
        packed = len(zlib.compress(full))
        print(f"{records} records: full state {len(full)} bytes, {packed} compressed")
        for one in measured(records, arguments.runs):
            print(f"  {one.what:42} {one.best:10.2f} µs   median {one.median:10.2f}")
            found.append(one)
    write_report(arguments.json, report | {"figures": [asdict(one) for one in found]})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
