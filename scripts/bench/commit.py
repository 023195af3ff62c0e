"""What a commit costs, from finished works to the answer: entries and wallet movements.

Works go through the server's committer: rows, seals, chains, `Store.commit`, the answer. Each store
gets batches of several sizes, back to back: one small entry each of so many rooms of a slot, and of
one room so many holds (a rush of bets) and their settlements (a round that ends). Given are rows a
second, the time of a commit, and the processor time of the server's process, for a commit and for
each row. PostgreSQL keeps what it commits, and its own processor time is not counted.

    .venv/bin/python -m scripts.bench.commit [--store memory,postgres] [--sizes 1,10,60,100,1000]
        [--runs 5] [--commits 40] [--rounds 4] [--postgres DSN] [--json FILE]

Exits with 1 if the median of a commit's time misses its target; processor time has targets too.
"""

import argparse
import asyncio
import gc
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import uvloop

from gameserver.engine.effects import Booking, Effect, Hold, Settle
from gameserver.engine.output import TickOutput
from gameserver.engine.room import Room
from gameserver.runtime.clock import SystemClock
from gameserver.runtime.committer import Committer
from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.ring import Ring
from gameserver.runtime.slots import SLOTS
from gameserver.runtime.work import OpenRoom, Work
from persistence.interfaces import TRANSFERS_PER_BATCH_MAX, CommitAnswer, Ruling, Store
from persistence.memory import MemoryStore
from persistence.ownership import DEFAULT_SHARDS
from persistence.sealing import Sealer
from scripts.bench.beat_game import Beat
from scripts.bench.measuring import Range, head, write_report
from scripts.bench.nodes import GAMES, database, room_row

ROOMS_MAX = 10_000
ENTRY_BYTES = 40  # Of a tick with a command or two.
STAKE_MINOR, PAYOUT_MINOR = 100, 390  # Every fourth bet wins.
GRANT_MINOR = 10**9
WARM_UP = 10  # The first commits of a connection make their plans.
STORES = ("memory", "postgres")
ENTRIES, HOLDS, SETTLEMENTS = "entries", "holds", "settlements"

# Median milliseconds of a commit on PostgreSQL, by kind and size; see the figures to reach.
TARGET_MS = {(ENTRIES, 100): 3.0, (HOLDS, 1_000): 40.0, (SETTLEMENTS, 1_000): 40.0}
# The server's µs: for each commit, and for each entry of it.
TARGET_US = {"memory": (0.0, 3.0), "postgres": (300.0, 4.0)}


@dataclass(frozen=True)
class Cost:
    """What commits of one kind and size cost: time of each, and the server's processor time."""

    store: str
    kind: str
    size: int
    commits: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    commit_us: Range

    @property
    def rows_s(self) -> float:
        """Rows a second, if commits went on back to back."""
        return 1_000 * self.size / self.p50_ms

    @property
    def target_us(self) -> float | None:
        """What a commit may cost the server, if that was ever said."""
        commit_us, entry_us = TARGET_US[self.store]
        return commit_us + entry_us * self.size if self.kind == ENTRIES else None

    @property
    def target_ms(self) -> float | None:
        """How long a commit may take, if that was ever said."""
        return TARGET_MS.get((self.kind, self.size)) if self.store == "postgres" else None

    @property
    def is_late(self) -> bool:
        """Whether it takes longer than it may."""
        return self.target_ms is not None and self.p50_ms > self.target_ms


class Slot:
    """Rooms of a node that owns all shards, and the players of one of them."""

    def __init__(self, store: Store, rooms: int) -> None:
        self._store = store
        self._dice = random.Random(7)
        self._keeper = ShardKeeper(store, "bench", DEFAULT_SHARDS)
        self._committer = Committer(
            store, self._keeper, Sealer({1: bytes(32)}, 1), SystemClock(), Metrics()
        )
        self._committer.release = self._release
        self._answered = asyncio.Event()
        self._answer = CommitAnswer()
        self._rooms: list[OpenRoom] = []
        self._numbers = [0] * rooms
        self._beat = 0
        self._bets = 0
        self.players = [self._dice.getrandbits(53) for _ in range(TRANSFERS_PER_BATCH_MAX)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Own the shards, give the players their money, and commit."""
        await self._keeper.take(range(DEFAULT_SHARDS), lambda: 0)
        ids = [self._keeper.new_room(self._dice)[0] for _ in self._numbers]
        for room_id in sorted(ids, key=lambda one: one % SLOTS):
            row = room_row(room_id, Beat.name)
            room = Room[Any](GAMES[Beat.name], room_id)
            self._rooms.append(OpenRoom(row, room, Ring(0, 1), 0))
        for player in self.players:
            assert await self._store.create_person(player, "bench", GRANT_MINOR)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._committer.run())
            yield
            self._committer.stop()

    async def _release(self, works: Iterable[Work], answer: CommitAnswer) -> None:
        self._answer = answer
        self._answered.set()

    def entries(self, size: int) -> list[Work]:
        """Return works of so many rooms."""
        return [self._work(place, []) for place in range(size)]

    def holds(self, size: int) -> list[Work]:
        """Return the work of a room in which so many players bet."""
        self._bets += 1
        return [self._work(0, [Hold(*self._bet(player)) for player in self.players[:size]])]

    def settlements(self, size: int) -> list[Work]:
        """Return the work that ends the last of those bets, and books the round.

        The booking takes the place of one settlement: a batch holds no more.
        """
        ends: list[Effect] = []
        paid = 0
        for place, player in enumerate(self.players[: max(size - 1, 1)]):
            ends.append(Settle(self._bet(player)[0], PAYOUT_MINOR * (place % 4 == 0)))
            paid += PAYOUT_MINOR * (place % 4 == 0)
        if size > 1:
            ends.append(Booking(f"round:{self._bets}", STAKE_MINOR * size - paid))
        return [self._work(0, ends)]

    def _bet(self, player: int) -> tuple[str, int, int]:
        return f"{self._bets}:{player}", player, STAKE_MINOR

    def _work(self, place: int, effects: list[Effect]) -> Work:
        opened = self._rooms[place]
        self._numbers[place] += 1
        entry = self._dice.randbytes(ENTRY_BYTES)
        output = TickOutput(opened.row.room_id, self._beat + 1, entry, self._numbers[place])
        output.effects = effects
        return Work(opened, output)

    async def commit(self, works: list[Work]) -> float:
        """Commit works and return the milliseconds that it took."""
        self._beat += 1
        self._answered.clear()
        began_ns = time.perf_counter_ns()
        self._committer.submit(works, self._beat)
        await self._answered.wait()
        took_ns = time.perf_counter_ns() - began_ns
        assert not self._answer.fenced
        assert not self._answer.regressed
        assert all(verdict.ruling == Ruling.GRANTED for verdict in self._answer.verdicts)
        return took_ns / 1e6


async def timed(slot: Slot, commits: Sequence[list[Work]]) -> tuple[list[float], float]:
    """Return the milliseconds of each commit, and the process's microseconds for one."""
    gc.collect()
    gc.freeze()
    began_ns = time.process_time_ns()
    wall_ms = [await slot.commit(works) for works in commits]
    return wall_ms, (time.process_time_ns() - began_ns) / len(commits) / 1_000


async def measured(store_name: str, store: Store, arguments: argparse.Namespace) -> list[Cost]:
    """Return what commits cost on one store; the runs of kinds and sizes take turns."""
    slot = Slot(store, max(arguments.sizes))
    runs: dict[tuple[str, int], list[tuple[list[float], float]]] = {
        (kind, size): []
        for kind in (ENTRIES, HOLDS, SETTLEMENTS)
        for size in arguments.sizes
        if kind == ENTRIES or size <= TRANSFERS_PER_BATCH_MAX
    }
    async with slot.running():
        for size in arguments.sizes:
            await timed(slot, [slot.entries(size) for _ in range(WARM_UP)])
        for _ in range(arguments.runs):
            for size in arguments.sizes:
                works = [slot.entries(size) for _ in range(arguments.commits)]
                runs[ENTRIES, size].append(await timed(slot, works))
                for _ in range(arguments.rounds if (HOLDS, size) in runs else 0):
                    runs[HOLDS, size].append(await timed(slot, [slot.holds(size)]))
                    runs[SETTLEMENTS, size].append(await timed(slot, [slot.settlements(size)]))
    costs = []
    for (kind, size), taken in runs.items():
        wall_ms = list(chain.from_iterable(times for times, _ in taken))
        p50, p99 = statistics.median(wall_ms), statistics.quantiles(wall_ms, n=100)[98]
        commit_us = Range.of([cost_us for _, cost_us in taken])
        costs.append(Cost(store_name, kind, size, len(wall_ms), p50, p99, max(wall_ms), commit_us))
    return costs


async def all_measured(arguments: argparse.Namespace) -> list[Cost]:
    """Return what commits cost on each store that was asked for."""
    costs: list[Cost] = []
    async with AsyncExitStack() as stack:
        for name in arguments.store:
            store: Store = MemoryStore()
            if name == "postgres":
                store = await stack.enter_async_context(database(arguments.postgres))
            costs += await measured(name, store, arguments)
    return costs


def line(cost: Cost) -> str:
    """Return a cost as a line of the table."""
    aims = []
    if cost.target_us is not None:
        aims.append(f"{cost.target_us:,.0f} µs")
    if cost.target_ms is not None:
        aims.append(f"{cost.target_ms:.0f} ms")
    return (
        f"{cost.store:10}{cost.kind:12}{cost.size:6}{cost.rows_s:11,.0f}"
        f"{cost.p50_ms:9.2f}{cost.p99_ms:9.2f}"
        f"{cost.commit_us.least:10,.0f}{cost.commit_us.median:10,.0f}"
        f"{cost.commit_us.median / cost.size:9.2f}   {', '.join(aims)}"
    )


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--store", type=_stores, default=STORES, help="memory, postgres or both")
    parser.add_argument("--sizes", type=_sizes, default=(1, 10, 60, 100, 1_000))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--commits", type=int, default=40, help="of entries in each run")
    parser.add_argument("--rounds", type=int, default=4, help="of bets in each run")
    parser.add_argument("--postgres", metavar="DSN", help="by default an embedded one")
    parser.add_argument("--json", metavar="FILE", type=Path)
    return parser.parse_args(argv)


def _stores(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(STORES):
        raise argparse.ArgumentTypeError(f"stores are {' and '.join(STORES)}")
    return names


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(one) for one in text.split(","))
    if not all(1 <= size <= ROOMS_MAX for size in sizes):
        raise argparse.ArgumentTypeError(f"sizes are 1 to {ROOMS_MAX}")
    return sizes


def main(argv: Sequence[str]) -> int:
    """Measure and print; 1 if a median misses its target."""
    arguments = parsed(argv)
    report = head("scripts.bench.commit", argv)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        costs = runner.run(all_measured(arguments))
    print(
        f"{'':10}{'':12}{'size':>6}{'rows/s':>11}{'p50 ms':>9}{'p99 ms':>9}"
        f"{'best µs':>10}{'µs':>10}{'µs/row':>9}   targets"
    )
    for cost in costs:
        print(line(cost))
    print("(µs: processor time of the server for a commit, best and median of the runs)")
    found = [asdict(cost) | {"rows_s": cost.rows_s} for cost in costs]
    write_report(arguments.json, report | {"commits": found})
    return int(any(cost.is_late for cost in costs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
