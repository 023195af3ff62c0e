"""Measures what rooms cost: a write, a delta, a whole tick, a replayed entry, a snapshot.

    .venv/bin/python -m scripts.bench.engine [--runs 15] [--profile] [--json FILE]

Figures are microseconds of CPU (``process_time``), the best and the median of the runs; on a busy
machine the best is the one to compare. The garbage collector is on, as in the server, with what
the start has made frozen. ``--profile`` says where the time of the ticks goes instead.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time_ns
from typing import Annotated, Any, ClassVar

import msgspec

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.commands import Command, Reason
from gameserver.engine.delta import changes_of
from gameserver.engine.fields import public, table
from gameserver.engine.game import Game
from gameserver.engine.inbox import Inbox
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room
from gameserver.engine.window import body_digest
from protocol import codec
from scripts.bench.measuring import head, write_report

ROOM_ID = 4_242_424_242
WALL_MS = 1_800_000_000_000
TICKS = 2_000
PUBLIC_SEATS, FOG_SEATS = 10, 50
TERRITORIES = 60
CHANGED = 5
TARGET_PUBLIC_US, TARGET_FOG_US, TARGET_ENTRIES_S = 12, 40, 20_000

Small = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Player(Record):
    """A seated player, whom everybody sees."""

    points: int = public(1, default=0)
    last_tick: int = public(2, default=0)


class Territory(Record):
    """Something that some of the seats see."""

    owner: int = public(1, default=0)
    troops: int = public(2, default=0)
    seen_by: int = public(3, default=0)


class State(Record):
    """Players, and a world in the fog."""

    turn: int = public(1, default=0)
    players: Table[int, Player] = table(2)
    territories: Table[int, Territory] = table(3)


class Score(Command, frozen=True, tag=1):
    """Change three public fields."""

    points: Small

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check what a game would."""
        return None if seat in room.state.players else TOO_EARLY

    def execute(self, room: Room[Any], seat: int) -> None:
        """Count."""
        player = room.state.players[seat]
        player.points += self.points
        player.last_tick = room.now
        room.state.turn += 1


class March(Command, frozen=True, tag=2):
    """Change one field of each of five territories."""

    first: Small

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check what a game would."""
        return None if self.first < TERRITORIES else TOO_EARLY

    def execute(self, room: Room[Any], seat: int) -> None:
        """Move troops."""
        territories = room.state.territories
        for at in range(CHANGED):
            territories[(self.first + at * 7) % TERRITORIES].troops += 1


TOO_EARLY = Reason(100, "TOO_EARLY")


class BenchGame(Game[State]):
    """A game without rules."""

    name: ClassVar[str] = "bench"
    title: ClassVar[str] = "Bench"
    seats_max: ClassVar[int] = FOG_SEATS
    state = State
    commands: ClassVar[tuple[type[Command], ...]] = (Score, March)
    reasons: ClassVar[tuple[Reason, ...]] = (TOO_EARLY,)

    def open(self, room: Room[State]) -> None:
        """Lay out the world: each territory is seen by every third to seventh seat."""
        for key in range(TERRITORIES):
            seats = sum(1 << seat for seat in range(key % 3, FOG_SEATS, 3 + key % 5))
            room.state.territories.add(key, Territory(seen_by=seats))

    def sit(self, room: Room[State], seat: int) -> Reason | None:
        """Take a player in, and show what there is for the seat."""
        room.state.players.add(seat, Player(), seat=seat)
        for key in range(TERRITORIES):
            if seat % (3 + key % 5) == key % 3 % (3 + key % 5):
                room.state.territories[key].seen_by |= 1 << seat
        return None


def seated(seats: int) -> tuple[Room[State], list[bytes]]:
    """Return a room with so many players, and its entries."""
    room: Room[State] = Room(BenchGame(), ROOM_ID)
    sitting: list[i.Input] = [i.Opened(b"", bytes(32), WALL_MS)]
    sitting += [i.Sat(account) for account in range(1, seats + 1)]
    out = room.tick(1, sitting)
    return room, [out.entry or b""]


def commanded(room: Room[Any], seat: int, number: int, command: Command) -> i.Commanded:
    """Return a command as the room host makes it from the wire."""
    body = msgspec.msgpack.encode(command)
    return i.Commanded(seat, number, WALL_MS, body, body_digest(body), room.decode(body))


class Ticking:
    """A room in which one player after the other does one thing a tick."""

    def __init__(self, seats: int, command: Callable[[int], Command]) -> None:
        self.room, self.entries = seated(seats)
        self.frames = 0
        self._seats = seats
        self._command = command
        self._count = 0

    def run(self) -> float:
        """Return microseconds of CPU a tick, from the inbox to the packed frames."""
        waiting = [self._next() for _ in range(TICKS)]
        room, inbox, frames = self.room, Inbox(), 0
        began_ns = process_time_ns()
        for command in waiting:
            inbox.submit(command)
            out = room.tick(room.now + 1, *inbox.take())
            frames += len(out.private) + (out.shared is not None)
        took_ns = process_time_ns() - began_ns
        self.frames = frames // TICKS
        return took_ns / TICKS / 1_000

    def record(self, count: int) -> None:
        """Play on, keeping the entries."""
        for _ in range(count):
            out = self.room.tick(self.room.now + 1, (), [self._next()])
            self.entries.append(out.entry or b"")

    def _next(self) -> i.Commanded:
        self._count += 1
        number, seat = divmod(self._count, self._seats)
        return commanded(self.room, seat, number + 1, self._command(self._count))


def public_ticks() -> Ticking:
    """Return the room of 10 with public changes."""
    return Ticking(PUBLIC_SEATS, lambda count: Score(points=count % 7))


def fog_ticks() -> Ticking:
    """Return the room of 50 with fog."""
    return Ticking(FOG_SEATS, lambda count: March(first=count % TERRITORIES))


def write_us(room: Room[State]) -> float:
    """Return microseconds of CPU for one recorded write, taken out of the log with nine others."""
    players, changes, writes = room.state.players, room.changes, 10_000
    began_ns = process_time_ns()
    for number in range(writes):
        players[number % PUBLIC_SEATS].points = number
        if number % 10 == 0:
            changes.items.clear()
    took_ns = process_time_ns() - began_ns
    changes.items.clear()
    return took_ns / writes / 1_000


def delta_us(room: Room[State]) -> float:
    """Return microseconds of CPU for sorting and packing the changes of a tick, five of them."""
    for seat in range(CHANGED):
        room.state.players[seat].points += 1
    items = room.changes.items[:]
    room.changes.items.clear()
    return timed_us(lambda: codec.packed(changes_of(items).public), 2_000)


def replay_us(entries: list[bytes]) -> float:
    """Return microseconds of CPU for reading and replaying one entry."""
    room: Room[State] = Room(BenchGame(), ROOM_ID)
    began_ns = process_time_ns()
    for payload in entries:
        room.replay(i.read_entry(payload))
    return (process_time_ns() - began_ns) / len(entries) / 1_000


def timed_us(work: Callable[[], object], calls: int = 100) -> float:
    """Return microseconds of CPU that one call takes."""
    began_ns = process_time_ns()
    for _ in range(calls):
        work()
    return (process_time_ns() - began_ns) / calls / 1_000


def figures(runs: int, measure: Callable[[], float]) -> tuple[float, float]:
    """Return the best and the median of some runs, after one that warms up."""
    measure()
    taken = [measure() for _ in range(runs)]
    return min(taken), statistics.median(taken)


def report(runs: int) -> dict[str, dict[str, float]]:
    """Measure everything, print it and return it."""
    small, fog = public_ticks(), fog_ticks()
    recorded = public_ticks()
    recorded.record(TICKS)
    game = BenchGame()
    stored = snapshot.dump(fog.room)
    plain, _ = seated(PUBLIC_SEATS)
    gc.collect()
    gc.freeze()
    print(f"{runs} runs, ticks {TICKS} a run; garbage collector on")
    works: list[tuple[str, Callable[[], float], float | None]] = [
        ("one recorded write", lambda: write_us(plain), None),
        (f"a delta of {CHANGED} changes, sorted and packed", lambda: delta_us(plain), None),
        ("a tick: one command, room of 10, 3 public fields", small.run, TARGET_PUBLIC_US),
        (
            f"a tick: five fields, room of 50 with fog, {_frames(fog)} frames",
            fog.run,
            TARGET_FOG_US,
        ),
        (
            "an entry with one command, replayed",
            lambda: replay_us(recorded.entries),
            1_000_000 / TARGET_ENTRIES_S,
        ),
        (
            f"a snapshot of 50 seats and {TERRITORIES} records ({len(stored)} bytes)",
            lambda: timed_us(lambda: snapshot.dump(fog.room)),
            None,
        ),
        ("the same, read", lambda: timed_us(lambda: snapshot.load(game, stored)), None),
    ]
    found = {}
    for what, measure, target in works:
        best, median = figures(runs, measure)
        aim = "" if target is None else f"   target {target:.0f}"
        print(f"{what:68} {best:8.2f} µs   median {median:8.2f}{aim}")
        found[what] = {"best_us": best, "median_us": median}
    return found


def _frames(ticking: Ticking) -> int:
    ticking.run()
    return ticking.frames


def profile() -> None:
    """Print where the time of both kinds of tick goes."""
    for ticking in (public_ticks(), fog_ticks()):
        profiler = cProfile.Profile()
        profiler.runcall(ticking.run)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(22)


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", metavar="FILE", type=Path)
    arguments = parser.parse_args(argv)
    told = head("scripts.bench.engine", argv)
    if arguments.profile:
        profile()
    else:
        write_report(arguments.json, told | {"figures": report(arguments.runs)})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
