"""The disk is full: PostgreSQL's data on a file system of a few megabytes, and no room left on it.

PostgreSQL refuses what needs room in a table, and goes down when it can write no journal of its
own. Both are an outage for the game server, which ends when there is room again.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from scripts.faulting.database import SmallDisk
from scripts.faulting.faults import Measures, NotRun
from scripts.faulting.world import World

MEGABYTES = 256
FULL_S = 20.0
LASTS_S = 2.0
BACK_S = 30.0
PLAY_S = 2.0
NO_ROOM = "No space left on device"

# Each takes a new file for PostgreSQL's journal.
WRITE_ON = (
    "SELECT pg_logical_emit_message(false, 'faults', 'on to the next file')",
    "SELECT pg_switch_wal()",
)


@asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[tuple[SmallDisk, str]]:
    """Give a small file system, or why there is none."""
    small = SmallDisk(folder, MEGABYTES)
    why_not = await small.mount()
    try:
        yield small, why_not
    finally:
        if not why_not:
            await small.unmount()


async def fill_up(world: World, small: SmallDisk, measures: Measures) -> None:
    """Leave no room until PostgreSQL notices, then give it back and see that play goes on."""
    await world.news(world.now_ns())
    await asyncio.sleep(PLAY_S)
    world.has_waited = True
    small.fill()
    try:
        is_full = await _write_until_full(world)
        await asyncio.sleep(LASTS_S)
    finally:
        small.free()
    if not world.database.is_running:
        await world.database.start_again()
    await _accepts(world)
    back_ns = world.now_ns()
    measures.after_postgres_ms.append((await world.news(back_ns) - back_ns) // 1_000_000)
    if not is_full:
        raise NotRun("PostgreSQL found room all the same")
    await asyncio.sleep(PLAY_S)


async def _write_until_full(world: World) -> bool:
    deadline_s = time.monotonic() + FULL_S
    while time.monotonic() < deadline_s:
        try:
            async with world.database.connection() as connection:
                for sql in WRITE_ON:
                    await connection.execute(sql)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            if world.database.log_has(NO_ROOM):
                return True
        await asyncio.sleep(0.02)
    return world.database.log_has(NO_ROOM)


async def _accepts(world: World) -> None:
    """Wait until PostgreSQL has recovered."""
    async with asyncio.timeout(BACK_S):
        while True:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                async with world.database.connection():
                    return
            if not world.database.is_running:
                await world.database.start_again()
            await asyncio.sleep(0.05)
