"""What many rooms cost of which few are active: cost must grow with what happens alone.

In each active room somebody sits and something changes in every tick; the others are open, and
nobody is in them. There are no sockets; garbage is collected as in the server. Given is the share
of a core, and how long the rooms of a slot (a fifth of all) take to tick.

    .venv/bin/python -m scripts.bench.many [--rooms 10000] [--active 1] [--seconds 10]
        [--runs 3] [--postgres DSN] [--json FILE]

``--active`` is in percent. PostgreSQL runs beside it, on whatever cores there are.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import uvloop

from gameserver.runtime import collector
from gameserver.runtime.metrics import Histogram
from gameserver.runtime.node import Node
from persistence.interfaces import Store
from scripts.bench.beat_game import Beat
from scripts.bench.idle import Nobody, share_of_core
from scripts.bench.measuring import Range, head, write_report
from scripts.bench.nodes import database, node_on, room_row

TARGET_PERCENT, TARGET_MS = 10.0, 1.0
AT_ONCE = 64  # Rooms that are made and opened at once.


class Somebody(Nobody):
    """A viewer that stays; each has an account of its own."""

    def __init__(self, account: int) -> None:
        self.account = account


class Kept(Histogram):
    """Keeps what is observed, to tell the 99th percentile exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def observe(self, value: float) -> None:
        """Keep one value."""
        super().observe(value)
        self.seen.append(value)

    def p99(self) -> float:
        """Return the value that 99 % do not exceed."""
        return sorted(self.seen)[len(self.seen) * 99 // 100]


@dataclass(frozen=True)
class Cost:
    """What a node used while nothing but the active rooms did anything."""

    core_percent: float
    slot_ms_p99: float
    ticks_s: float


async def opened(node: Node, store: Store, rooms: int, active: int) -> None:
    """Open all rooms, let somebody stay in the active ones and nobody in the others."""
    viewers = [Somebody(number) for number in range(1, rooms + 1)]
    chance = Random(7)

    async def enter(viewer: Somebody) -> None:
        row = room_row(node.host.new_room(chance)[0], Beat.name)
        await store.create_room(row)
        await node.host.join(row, viewer, 1, watch=viewer.account > active)

    for first in range(0, rooms, AT_ONCE):
        async with asyncio.TaskGroup() as tasks:
            for viewer in viewers[first : first + AT_ONCE]:
                tasks.create_task(enter(viewer))
    await asyncio.sleep(2)  # All that opening rooms brought with it is over then.
    for viewer in viewers[active:]:
        node.host.lost(viewer)
    await asyncio.sleep(1)


async def measured(arguments: argparse.Namespace) -> list[Cost]:
    """Return the costs of several stretches of time with the same rooms."""
    active = round(arguments.rooms * arguments.active / 100)
    costs = []
    async with database(arguments.postgres) as store:
        node = node_on(store)
        await node.start()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(node.run())
            collecting = tasks.create_task(collector.run())
            await opened(node, store, arguments.rooms, active)
            assert len(node.host.rooms) == arguments.rooms
            for _ in range(arguments.runs):
                slots = node.metrics.slot_ms = Kept()
                before = node.metrics.ticks_total
                percent = await share_of_core(arguments.seconds)
                ticks_s = (node.metrics.ticks_total - before) / arguments.seconds
                costs.append(Cost(percent, slots.p99(), ticks_s))
            node.drain()
            await running
            collecting.cancel()
    return costs


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rooms", type=int, default=10_000)
    parser.add_argument("--active", type=float, default=1.0, help="percent of the rooms")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--postgres", metavar="DSN")
    parser.add_argument("--json", metavar="FILE", type=Path)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    arguments = parsed(argv)
    report = head("scripts.bench.many", argv)
    costs = uvloop.run(measured(arguments))
    percent = Range.of([one.core_percent for one in costs])
    slot_ms = Range.of([one.slot_ms_p99 for one in costs])
    ticks_s = Range.of([one.ticks_s for one in costs])
    print(
        f"{arguments.rooms} rooms, {arguments.active:g} % active: {ticks_s.text(0)} ticks a second"
    )
    print(f"{percent.text()} % of a core (target: under {TARGET_PERCENT:.0f} %)")
    print(f"{slot_ms.text(2)} ms a slot, p99 (target: under {TARGET_MS:.0f} ms)")
    write_report(arguments.json, report | {"runs": [asdict(one) for one in costs]})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
