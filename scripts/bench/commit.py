"""What a commit costs, from the call to the answer, on a PostgreSQL that keeps what it commits.

Three kinds of batch, in several sizes: the entries of a slot, one for each room; a rush of holds;
and their settlement at the end of a round, of which every fourth has won. Each is sent back to back
over one connection, sizes in turns; the time is that of `Store.commit` alone. Given are commits of
each kind and size, and how many entries or movements of wallets that is a second.

    .venv/bin/python -m scripts.bench.commit [--sizes 1,10,100,1000] [--rounds 100]
        [--postgres DSN] [--json FILE]
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from persistence.embedded import EmbeddedPostgres
from persistence.interfaces import (
    TRANSFERS_PER_BATCH_MAX,
    Batch,
    Booking,
    EntryRow,
    Hold,
    Ruling,
    Settle,
    ShardMark,
    chained,
)
from persistence.ownership import DEFAULT_SHARDS
from persistence.postgres.migrate import migrate
from persistence.postgres.store import PostgresStore
from scripts.bench.measuring import head, write_report

ROOMS_MAX = 10_000
PAYLOAD_BYTES = 200
STAKE_MINOR = 100
GRANT_MINOR = 10**9
WARM_UP = 10  # The first commits of a connection make their plans.

ENTRIES, HOLDS, SETTLEMENTS = "entries", "holds", "settlements"
# p50 in milliseconds; see the figures to reach.
TARGET_MS = {(ENTRIES, 100): 3.0, (HOLDS, 1000): 40.0, (SETTLEMENTS, 1000): 40.0}
Times = dict[tuple[str, int], list[float]]  # Milliseconds by kind and size.


@dataclass(frozen=True)
class Cost:
    """What commits of one kind and size cost."""

    kind: str
    size: int
    commits: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def rows_s(self) -> float:
        """How many rows a second that is."""
        return self.size * 1_000 / self.p50_ms

    @property
    def is_within_target(self) -> bool:
        """Whether the median is what it should be."""
        return self.p50_ms < TARGET_MS.get((self.kind, self.size), float("inf"))

    def line(self) -> str:
        """Return it for the table."""
        target = TARGET_MS.get((self.kind, self.size))
        aim = "" if target is None else f"{target:9.1f}"
        return (
            f"{self.kind:12}{self.size:6,}{self.commits:9}{self.p50_ms:9.2f}{self.p99_ms:9.2f}"
            f"{self.max_ms:9.2f}{self.rows_s:11,.0f}{aim}"
        )


class Owner:
    """A node that owns all shards and has rooms and players on them."""

    def __init__(self, store: PostgresStore, rooms: int) -> None:
        self._store = store
        self._dice = random.Random(7)
        self._epochs: dict[int, int] = {}
        self._heads: dict[int, bytes] = {}
        self._clock_tick = 0
        self._rooms = [self._dice.getrandbits(53) for _ in range(rooms)]
        self._numbers = dict.fromkeys(self._rooms, 0)
        self.players = [self._dice.getrandbits(53) for _ in range(TRANSFERS_PER_BATCH_MAX)]

    async def settle_in(self) -> None:
        """Take the shards and give the players their money."""
        for state in await self._store.take_shards("bench", range(DEFAULT_SHARDS)):
            self._epochs[state.shard], self._heads[state.shard] = state.epoch, state.head
        for player in self.players:
            assert await self._store.create_person(player, "bench", GRANT_MINOR)

    def entries(self, count: int) -> Batch:
        """Return the entries of a slot, one for each of so many rooms."""
        rows = []
        for room in self._rooms[:count]:
            self._numbers[room] += 1
            payload = self._dice.randbytes(PAYLOAD_BYTES)
            rows.append(EntryRow(room % DEFAULT_SHARDS, room, self._numbers[room], 1, payload))
        return self._batch(entries=rows)

    def holds(self, turn: str, count: int) -> Batch:
        """Return a bet of each of so many players in one room."""
        room = self._rooms[0]
        return self._batch(
            holds=[
                Hold(room % DEFAULT_SHARDS, room, f"{room}:{turn}:{player}", player, STAKE_MINOR)
                for player in self.players[:count]
            ]
        )

    def settlements(self, turn: str, count: int) -> Batch:
        """Return the end of all those bets, of which every fourth has won, and the booking."""
        room = self._rooms[0]
        rows = [
            Settle(room % DEFAULT_SHARDS, room, f"{room}:{turn}:{player}", 390 * (number % 4 == 0))
            for number, player in enumerate(self.players[:count])
        ]
        net = STAKE_MINOR * len(rows) - sum(row.payout_minor for row in rows)
        booking = Booking(room % DEFAULT_SHARDS, room, f"{room}:{turn}", net)
        # The booking takes the place of one settlement where a batch holds no more.
        return self._batch(settles=rows[: TRANSFERS_PER_BATCH_MAX - 1], bookings=[booking])

    def _batch(
        self,
        entries: Iterable[EntryRow] = (),
        holds: Iterable[Hold] = (),
        settles: Iterable[Settle] = (),
        bookings: Iterable[Booking] = (),
    ) -> Batch:
        self._clock_tick += 1
        rows: dict[int, list[EntryRow]] = {}
        for row in entries:
            rows.setdefault(row.shard, []).append(row)
        marks = []
        for shard, epoch in self._epochs.items():
            head = self._heads[shard]
            if shard in rows:
                self._heads[shard] = chained(head, rows[shard])
            marks.append(ShardMark(shard, epoch, self._clock_tick, head, self._heads[shard]))
        return Batch(
            batch_id=self._dice.getrandbits(63),
            node="bench",
            marks=tuple(marks),
            entries=tuple(row for part in rows.values() for row in part),
            holds=tuple(holds),
            settles=tuple(settles),
            bookings=tuple(bookings),
        )


async def measure(store: PostgresStore, sizes: Sequence[int], rounds: int) -> Times:
    """Return milliseconds of each commit, by kind and size."""
    owner = Owner(store, max(sizes))
    await owner.settle_in()
    times: Times = {}
    for turn in range(-WARM_UP, rounds):
        for size in sizes:
            taken = {ENTRIES: await _timed(store, owner.entries(size))}
            if size <= TRANSFERS_PER_BATCH_MAX:
                bets = f"{turn}.{size}"
                taken[HOLDS] = await _timed(store, owner.holds(bets, size))
                taken[SETTLEMENTS] = await _timed(store, owner.settlements(bets, size))
            for kind, took_ms in taken.items():
                if turn >= 0:
                    times.setdefault((kind, size), []).append(took_ms)
    return times


async def _timed(store: PostgresStore, batch: Batch) -> float:
    began_ns = time.perf_counter_ns()
    answer = await store.commit(batch)
    took_ns = time.perf_counter_ns() - began_ns
    assert not answer.fenced
    assert not answer.regressed
    assert all(verdict.ruling == Ruling.GRANTED for verdict in answer.verdicts)
    return took_ns / 1e6


@asynccontextmanager
async def _database(dsn: str | None) -> AsyncIterator[str]:
    if dsn is not None:
        yield dsn
        return
    with tempfile.TemporaryDirectory(prefix="gs-bench-") as folder:
        async with EmbeddedPostgres(Path(folder) / "data") as server:
            yield server.dsn


async def run(dsn: str | None, sizes: Sequence[int], rounds: int) -> list[Cost]:
    """Return what commits cost on that database, or on one of their own."""
    async with _database(dsn) as address:
        await migrate(address)
        store = PostgresStore(address, application_name="bench")
        await store.start()
        try:
            times = await measure(store, sizes, rounds)
        finally:
            await store.stop()
    return [
        Cost(
            *(kind, size, len(taken), statistics.median(taken)),
            *(statistics.quantiles(taken, n=100)[98], max(taken)),
        )
        for (kind, size), taken in sorted(times.items())
    ]


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""

    def sizes(text: str) -> list[int]:
        found = [int(size) for size in text.split(",")]
        if not all(1 <= size <= ROOMS_MAX for size in found):
            raise argparse.ArgumentTypeError(f"sizes are 1 to {ROOMS_MAX}")
        return found

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sizes", type=sizes, default=[1, 10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=100, help="commits of each kind and size")
    parser.add_argument("--postgres", metavar="DSN", help="a database of its own")
    parser.add_argument("--json", metavar="FILE", type=Path)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure and print; 1 if a median misses its target."""
    arguments = parsed(argv)
    report = head("scripts.bench.commit", argv)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        costs = runner.run(run(arguments.postgres, arguments.sizes, arguments.rounds))
    print(
        f"{'':12}{'rows':>6}{'commits':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'rows/s':>11}"
        f"{'target':>9}"
    )
    for cost in costs:
        print(cost.line())
    figures = [asdict(cost) | {"rows_s": cost.rows_s} for cost in costs]
    write_report(arguments.json, report | {"commits": figures})
    return 0 if all(cost.is_within_target for cost in costs) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
