"""What a commit costs, from the call to the answer, on a PostgreSQL that keeps what it commits.

Three kinds of batch: the entries of a slot, a rush of holds, and the settlement of a round. Each
is sent back to back over one connection; the time is that of `Store.commit` alone.

    .venv/bin/python -m scripts.bench.commit [--rounds N] [--postgres DSN]
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
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

ENTRIES = 100
PAYLOAD_BYTES = 200
STAKE_MINOR = 100
GRANT_MINOR = 10**9
WARM_UP = 10  # The first commits of a connection make their plans.

# p50 in milliseconds; see the figures to reach.
TARGET_MS = {"100 entries": 3.0, "1,000 holds": 40.0, "1,000 settlements": 40.0}


class Owner:
    """A node that owns all shards and has rooms and players on them."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._dice = random.Random(7)
        self._epochs: dict[int, int] = {}
        self._heads: dict[int, bytes] = {}
        self._clock_tick = 0
        self._rooms = [self._dice.getrandbits(53) for _ in range(ENTRIES)]
        self._numbers = dict.fromkeys(self._rooms, 0)
        self.players = [self._dice.getrandbits(53) for _ in range(TRANSFERS_PER_BATCH_MAX)]

    async def settle_in(self) -> None:
        """Take the shards and give the players their money."""
        for state in await self._store.take_shards("bench", range(DEFAULT_SHARDS)):
            self._epochs[state.shard], self._heads[state.shard] = state.epoch, state.head
        for player in self.players:
            assert await self._store.create_person(player, "bench", GRANT_MINOR)

    def entries(self) -> Batch:
        """Return a slot's entries, one for each room."""
        rows = []
        for room in self._rooms:
            self._numbers[room] += 1
            payload = self._dice.randbytes(PAYLOAD_BYTES)
            rows.append(EntryRow(room % DEFAULT_SHARDS, room, self._numbers[room], 1, payload))
        return self._batch(entries=rows)

    def holds(self, turn: int) -> Batch:
        """Return a bet of each player in one room."""
        room = self._rooms[0]
        return self._batch(
            holds=[
                Hold(room % DEFAULT_SHARDS, room, f"{room}:{turn}:{player}", player, STAKE_MINOR)
                for player in self.players
            ]
        )

    def settlements(self, turn: int) -> Batch:
        """Return the end of all those bets, of which every fourth has won, and the booking."""
        room = self._rooms[0]
        rows = [
            Settle(room % DEFAULT_SHARDS, room, f"{room}:{turn}:{player}", 390 * (number % 4 == 0))
            for number, player in enumerate(self.players)
        ]
        net = STAKE_MINOR * len(rows) - sum(row.payout_minor for row in rows)
        booking = Booking(room % DEFAULT_SHARDS, room, f"{room}:{turn}", net)
        # The booking takes the place of one settlement: a batch holds no more.
        return self._batch(settles=rows[:-1], bookings=[booking])

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


async def measure(store: PostgresStore, rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of each commit, by kind."""
    owner = Owner(store)
    await owner.settle_in()
    for _ in range(WARM_UP):
        await _timed(store, owner.entries())
    times: dict[str, list[float]] = {name: [] for name in TARGET_MS}
    for _ in range(rounds):
        times["100 entries"].append(await _timed(store, owner.entries()))
    for turn in range(-WARM_UP, max(20, rounds // 10)):
        held = await _timed(store, owner.holds(turn))
        settled = await _timed(store, owner.settlements(turn))
        if turn >= 0:
            times["1,000 holds"].append(held)
            times["1,000 settlements"].append(settled)
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


async def run(dsn: str | None, rounds: int) -> bool:
    """Print the figures; return whether each median is within its target."""
    async with _database(dsn) as address:
        await migrate(address)
        store = PostgresStore(address, application_name="bench")
        await store.start()
        try:
            times = await measure(store, rounds)
        finally:
            await store.stop()
    print(f"{'':20}{'commits':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'target':>9}")
    for name, taken in times.items():
        p99 = statistics.quantiles(taken, n=100)[98]
        print(
            f"{name:20}{len(taken):9}{statistics.median(taken):9.2f}{p99:9.2f}{max(taken):9.2f}"
            f"{TARGET_MS[name]:9.1f}"
        )
    return all(statistics.median(taken) < TARGET_MS[name] for name, taken in times.items())


def main() -> int:
    """Run from the command line; 1 if a median misses its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500, help="commits of entries to measure")
    parser.add_argument("--postgres", help="a database of its own; by default an embedded one")
    options = parser.parse_args()
    print("$ python -m scripts.bench.commit", *sys.argv[1:])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return 0 if runner.run(run(options.postgres, options.rounds)) else 1


if __name__ == "__main__":
    sys.exit(main())
