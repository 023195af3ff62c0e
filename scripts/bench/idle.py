"""What rooms without activity cost: 10,000 of them open, nobody in them.

.venv/bin/python -m scripts.bench.idle [--rooms N] [--seconds S] [--postgres DSN]
"""

import argparse
import asyncio
import sys
import time

import uvloop

from scripts.bench.nodes import database, node_on, room_row

TARGET_PERCENT = 2.0


class Nobody:
    """A viewer that looks at a room once, so that it opens, and goes."""

    account = 1
    name = ""
    write_at_once = None

    def deliver(self, *_: object) -> None:
        """Take frames."""

    def count_at_once(self, *_: object) -> None:
        """Count frames."""

    def send(self, payload: bytes) -> None:
        """Take a message."""

    def joined(self, *_: object) -> int:
        """Note that a room is shown."""
        return 0

    def left(self, room_id: int) -> None:
        """Note that a room is shown no more."""


async def measured(rooms: int, seconds: float, dsn: str | None) -> tuple[float, float]:
    """Return the percentage of a core without rooms and with them."""
    async with database(dsn) as store:
        node = node_on(store)
        await node.start()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(node.run())
            empty = await share_of_core(seconds)
            viewer = Nobody()
            for number in range(1, rooms + 1):
                row = room_row(number)
                await store.create_room(row)
                await node.host.join(row, viewer, 1, watch=True)
            await asyncio.sleep(2)  # All that opening rooms brought with it is over then.
            node.host.lost(viewer)
            await asyncio.sleep(1)
            assert len(node.host.rooms) == rooms
            full = await share_of_core(seconds)
            node.drain()
            await running
    return empty, full


async def share_of_core(seconds: float) -> float:
    """Return how much of a core this process used, in percent."""
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    return 100 * (time.process_time() - began_cpu_s) / (time.monotonic() - began_s)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rooms", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--postgres", metavar="DSN")
    arguments = parser.parse_args()
    print(f"command: python -m scripts.bench.idle {' '.join(sys.argv[1:])}".rstrip())
    empty, full = uvloop.run(measured(arguments.rooms, arguments.seconds, arguments.postgres))
    print(f"no room            {empty:5.2f} % of a core")
    print(f"{arguments.rooms:6d} idle rooms  {full:5.2f} % of a core")
    print(f"the rooms cost     {full - empty:5.2f} % of a core (target: under {TARGET_PERCENT} %)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
