"""How fast a room comes back from its journal alone, and how soon a stopped server serves again.

The room is one of keno, with a bet or the verdict on one in every entry. Its journal is read from
PostgreSQL, unsealed, replayed, and every digest is compared, as after any crash; there is no
snapshot to begin from.

    .venv/bin/python -m scripts.bench.recovery [--entries 20000] [--runs 3] [--postgres DSN]
        [--json FILE]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from gameserver.engine import inputs as i
from gameserver.engine.output import TickOutput
from gameserver.engine.room import Room
from gameserver.engine.window import body_digest
from gameserver.runtime.batching import batch_of
from gameserver.runtime.clock import SystemClock
from gameserver.runtime.keeper import ShardKeeper, shard_of
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.recovery import Recovery
from gameserver.runtime.ring import Ring
from gameserver.runtime.work import OpenRoom, Work
from persistence.interfaces import CommitAnswer, Store
from persistence.ownership import DEFAULT_SHARDS
from persistence.sealing import Sealer
from scripts.bench.measuring import Range, head, write_report
from scripts.bench.nodes import GAMES, database, room_row

ROOM_ID = 4_711
ENTRIES_PER_BATCH = 500
TARGET_PER_S, TARGET_START_S = 20_000, 1.5
STARTS = 5
SEALS = Sealer({1: bytes(32)}, 1)


def played(count: int, room_id: int = ROOM_ID) -> list[TickOutput]:
    """Return the outputs of a room in which somebody bets, and the bets are granted."""
    room: Room[Any] = Room(GAMES["keno"], room_id)
    outputs = [room.tick(1, [i.Opened(b"\x80", bytes(32), 0), i.Sat(1)])]
    number = 0
    while len(outputs) < count:
        inputs: list[i.Input] = [i.Ruled(one.reference, 0) for one in outputs[-1].pending]
        inputs += [i.Drawn(ask, room.now.to_bytes(32, "big")) for ask in room.asks()]
        number += 1
        body = msgspec.msgpack.encode([1, [1 + number % 80, 81 - (1 + number % 40)], 100])
        bet = i.Commanded(0, number, 0, body, body_digest(body), room.decode(body))
        is_last = len(outputs) == count - 1  # What is bet last would wait for its verdict.
        outputs.append(room.tick(room.now + 1, inputs, [] if is_last else [bet]))
    return outputs


async def kept(store: Store, outputs: Sequence[TickOutput], room_id: int = ROOM_ID) -> None:
    """Commit the outputs' entries. Their effects are left out: recovery does not read them."""
    row = room_row(room_id)
    await store.create_room(row)
    keeper = ShardKeeper(store, "bench", DEFAULT_SHARDS)
    await keeper.take(range(DEFAULT_SHARDS), lambda: 0)
    opened = OpenRoom(row, Room(GAMES["keno"], room_id), Ring(0, 600), 0)
    for first in range(0, len(outputs), ENTRIES_PER_BATCH):
        part = outputs[first : first + ENTRIES_PER_BATCH]
        for output in part:
            output.effects = []
        batch_id = room_id * len(outputs) + first + 1  # Another one for each, also of other rooms.
        batch = batch_of(batch_id, [Work(opened, one) for one in part], keeper, SEALS, first)
        answer = await store.commit(batch)
        assert answer == CommitAnswer(), "Nobody else owns these shards."
        keeper.owned[shard_of(room_id, DEFAULT_SHARDS)].head = batch.marks[0].next_head


async def measured(entries: int, runs: int, dsn: str | None) -> list[float]:
    """Return how many entries a second were recovered in each of some runs."""
    outputs = played(entries)
    entries = sum(output.entry is not None for output in outputs)  # The last may want none.
    async with database(dsn) as store:
        await kept(store, outputs)
        rates = []
        for _ in range(runs):
            recovery = Recovery(store, GAMES, SEALS, SystemClock(), Metrics())
            began_s = time.perf_counter()
            room = await recovery.newest_sound(room_row(ROOM_ID), GAMES["keno"])
            ring = Ring(room.entry_tick, 600)
            await recovery.replay(room, ring)
            rates.append(room.entry_number / (time.perf_counter() - began_s))
            assert room.entry_number == entries
    return rates


def starts() -> list[float]:
    """Return how long `serve` takes to be ready, on new data and then on existing data."""
    with tempfile.TemporaryDirectory(prefix="gs-bench-") as folder:
        return [started(folder) for _ in range(STARTS + 1)]


def started(folder: str) -> float:
    """Start a server on its data, stop it when it is ready, and return the seconds to ready."""
    command = [sys.executable, "-m", "gameserver", "serve", "--data-dir", folder]
    command += ["--port", "0", "--admin-port", "0", "--log-format", "json"]
    began_s = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"server_ready"' in line:
                break
        else:
            raise RuntimeError("the server did not become ready")
        ready_s = time.perf_counter() - began_s
        process.terminate()
    return ready_s


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--postgres", metavar="DSN")
    parser.add_argument("--json", metavar="FILE", type=Path)
    arguments = parser.parse_args(argv)
    report = head("scripts.bench.recovery", argv)
    rates = uvloop.run(measured(arguments.entries, arguments.runs, arguments.postgres))
    print(
        f"{arguments.entries} entries recovered at {Range.of(rates).text(0)} a second"
        f" (target: {TARGET_PER_S:,} or more)"
    )
    first_s, *others_s = starts()
    print(f"first start, making the database   {first_s:.2f} s")
    print(
        f"start on existing data             {Range.of(others_s).text(2)} s"
        f" (target: under {TARGET_START_S} s)"
    )
    figures = {"entries_s": rates, "first_start_s": first_s, "starts_s": others_s}
    write_report(arguments.json, report | figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
