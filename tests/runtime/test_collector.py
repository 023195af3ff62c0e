"""The collector of cycles: what is young always, what is old at its own times."""

from __future__ import annotations

import asyncio
import gc
import weakref

from gameserver.runtime import collector
from tests.virtual import virtual


class Knot:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.me = self


@virtual
async def test_dead_cycles_go_within_the_minute_and_set_apart_ones_within_the_hour() -> None:
    before = gc.get_threshold()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(collector.run())
        await asyncio.sleep(1)
        assert gc.get_threshold() != before
        young = weakref.ref(Knot())
        old = Knot()
        old_ref = weakref.ref(old)
        await asyncio.sleep(61)
        assert young() is None
        del old  # It was set apart alive; now it is dead.
        await asyncio.sleep(120)
        assert old_ref() is not None
        await asyncio.sleep(3600)
        assert old_ref() is None
        running.cancel()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
