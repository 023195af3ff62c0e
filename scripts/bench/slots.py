"""What a slot costs for each of its rooms: from the inbox to a work that can be committed.

Rooms of ten in which something changes in every tick run as in a server, but for sockets and the
commit: each room gets one command a tick, or none. The garbage collector is on as in the server,
with what the start has made frozen.

    .venv/bin/python -m scripts.bench.slots [--rooms 100] [--runs 15] [--json FILE]

Figures are microseconds of CPU for a room and tick, the best and the median of the runs; on a busy
machine the best is the one to compare. A room's snapshots are spread over the ticks between them.
"""

import argparse
import asyncio
import gc
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import process_time_ns

import msgspec

from gameserver.runtime.clock import SystemClock
from gameserver.runtime.collector import NEVER, YOUNG_OBJECTS, YOUNG_ROUNDS
from gameserver.runtime.committer import Committer
from gameserver.runtime.host import RoomHost
from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.opening import Opening
from gameserver.runtime.recovery import Recovery
from gameserver.runtime.slots import SLOTS
from gameserver.runtime.snapshots import Snapshots
from gameserver.runtime.work import Work
from persistence.memory import MemoryStore
from persistence.ownership import DEFAULT_SHARDS
from persistence.sealing import Sealer
from scripts.bench.beat_game import Beat, Set
from scripts.bench.engine import figures
from scripts.bench.idle import Nobody
from scripts.bench.measuring import head, write_report
from scripts.bench.nodes import GAMES, SETTINGS, room_row

SEATS = 10
BEATS = 100  # In a run; as many as there are entries between two snapshots.
TARGET_US = 12


class Somebody(Nobody):
    """A player; each has an account of its own."""

    def __init__(self, account: int) -> None:
        self.account = account


class Swallowing(Committer):
    """Commits while rooms fill; then takes works and does nothing with them."""

    swallows = False
    taken = 0
    entries = 0

    def submit(self, works: Sequence[Work], beat: int) -> None:
        """Take the works of a slot."""
        if not self.swallows:
            super().submit(works, beat)
            return
        self.taken += len(works)
        self.entries += sum(work.output.entry is not None for work in works)


class Rooms:
    """Rooms full of players, and what runs them."""

    def __init__(self) -> None:
        store, clock, metrics = MemoryStore(), SystemClock(), Metrics()
        seals = Sealer({1: bytes(32)}, 1)
        self._keeper = ShardKeeper(store, "bench", DEFAULT_SHARDS)
        self._store = store
        self.committer = Swallowing(store, self._keeper, seals, clock, metrics)
        self.snapshots = Snapshots(store, self._keeper, seals, clock, metrics)
        recovery = Recovery(store, GAMES, seals, clock, metrics)
        limits = (SETTINGS.rooms_max, SETTINGS.ring_ticks)
        opening = Opening(store, self._keeper, recovery, metrics, limits)
        self.host = RoomHost(GAMES, opening, self.committer, self.snapshots, clock)
        self.players: list[tuple[int, list[Somebody]]] = []
        self.beat = 1
        self._number = 0

    async def fill(self, rooms: int) -> None:
        """Open so many rooms and let everybody sit down."""
        await self._keeper.take(range(DEFAULT_SHARDS), lambda: self.beat)
        async with asyncio.TaskGroup() as tasks:
            committing = tasks.create_task(self.committer.run())
            for room_id in range(1, rooms + 1):
                row = room_row(room_id, Beat.name)
                await self._store.create_room(row)
                people = [Somebody(room_id * SEATS + seat) for seat in range(SEATS)]
                for one in people:
                    await self.host.join(row, one, 1)
                self.players.append((room_id, people))
            for _ in range(3):
                self._run_beat()
                await asyncio.sleep(0.01)
            self.committer.stop()
            await committing
        self.committer.swallows = True
        for beat in range(SEATS * 70):  # Until everybody's window is full.
            self._send(beat % SEATS)
            self._run_beat()

    def run(self, *, commands: bool) -> float:
        """Return microseconds of CPU for a room and tick."""
        took_ns = 0
        taken = self.committer.taken
        for beat in range(BEATS):
            if commands:
                self._send(beat % SEATS)
            began_ns = process_time_ns()
            self._run_beat()
            took_ns += process_time_ns() - began_ns
        count = BEATS * len(self.players)
        assert self.committer.taken - taken == count, "A room did not tick."
        return took_ns / count / 1_000

    def command_us(self) -> float:
        """Return microseconds of CPU for a command, from the room host to the inbox."""
        took_ns = 0
        for beat in range(BEATS):
            began_ns = process_time_ns()
            self._send(beat % SEATS)
            took_ns += process_time_ns() - began_ns
            self._run_beat()
        return took_ns / (BEATS * len(self.players)) / 1_000

    def _send(self, seat: int) -> None:
        self._number += 1
        body = msgspec.msgpack.encode(Set(self._number))
        for room_id, people in self.players:
            self.host.command(room_id, people[seat], self._number, body)

    def _run_beat(self) -> None:
        self.beat += 1
        for slot in range(SLOTS):
            self.host.run_slot(slot, self.beat)


@dataclass(frozen=True)
class Figure:
    """What one thing costs, in microseconds."""

    what: str
    best: float
    median: float


async def measured(rooms: int, runs: int) -> list[Figure]:
    """Return what ticks cost in so many rooms."""
    full = Rooms()
    await full.fill(rooms)
    gc.collect()
    gc.freeze()
    between = full.snapshots.entries_between
    found = [Figure("a command, from the room host to the inbox", *figures(runs, full.command_us))]
    for what, commands, entries in (
        ("a tick with one command", True, NEVER),
        ("the same, with its snapshots", True, between),
        ("a tick in which only time passes", False, NEVER),
    ):
        full.snapshots.entries_between = full.snapshots.ticks_between = entries
        for opened in full.host.rooms.values():
            opened.snapshot_due_tick = 0
        found.append(Figure(what, *figures(runs, partial(full.run, commands=commands))))
    return found


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rooms", type=int, default=100)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", metavar="FILE", type=Path)
    arguments = parser.parse_args(argv)
    report = head("scripts.bench.slots", argv)
    print(f"{arguments.rooms} rooms of {SEATS} (target: {TARGET_US} µs for one command)")
    before = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_ROUNDS, NEVER)
    try:
        found = asyncio.run(measured(arguments.rooms, arguments.runs))
    finally:
        gc.set_threshold(*before)
    for one in found:
        print(f"  {one.what:44} {one.best:8.2f} µs   median {one.median:8.2f}")
    write_report(arguments.json, report | {"figures": [asdict(one) for one in found]})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
