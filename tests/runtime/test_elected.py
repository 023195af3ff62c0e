"""What only one node may run: it is run by one, and by another when that one is gone."""

from __future__ import annotations

import asyncio

from gameserver.runtime.elected import CLAIM_S, STALE_MS, Elected
from persistence.interfaces import StorageUnavailable
from persistence.ownership import TaskFence
from tests.runtime.rig import FaultyStore, VirtualClock
from tests.virtual import virtual

INTERVAL_S = 60.0


class Runs:
    """Which nodes ran the task, under which fence."""

    def __init__(self, store: FaultyStore) -> None:
        self.store = store
        self.by: list[tuple[str, TaskFence]] = []
        self.fails = False

    def elected(self, name: str) -> Elected:
        async def job(fence: TaskFence) -> None:
            self.by.append((name, fence))
            if self.fails:
                raise StorageUnavailable("away")

        return Elected("sweeping", name, self.store, VirtualClock(), (job, INTERVAL_S))


@virtual
async def test_of_several_nodes_one_runs_the_task_and_goes_on_doing_so() -> None:
    runs = Runs(FaultyStore())
    async with asyncio.TaskGroup() as tasks:
        nodes = [tasks.create_task(runs.elected(name).run()) for name in "abc"]
        await asyncio.sleep(3 * INTERVAL_S + 1)
        for node in nodes:
            node.cancel()
    assert runs.by == [("a", TaskFence("sweeping", 1))] * 4


@virtual
async def test_when_its_runner_is_gone_another_goes_on_under_a_newer_epoch() -> None:
    runs = Runs(FaultyStore())
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(runs.elected("a").run())
        await asyncio.sleep(1)
        second = tasks.create_task(runs.elected("b").run())
        await asyncio.sleep(1)
        first.cancel()
        await asyncio.sleep(STALE_MS / 1000 + CLAIM_S)
        second.cancel()
    assert runs.by == [("a", TaskFence("sweeping", 1)), ("b", TaskFence("sweeping", 2))]
    assert await runs.store.claim_task("sweeping", "a", STALE_MS) is None


@virtual
async def test_a_task_that_fails_is_run_again_when_it_is_due() -> None:
    runs = Runs(FaultyStore())
    runs.fails = True
    async with asyncio.TaskGroup() as tasks:
        node = tasks.create_task(runs.elected("a").run())
        await asyncio.sleep(INTERVAL_S + 1)
        node.cancel()
    assert len(runs.by) == 2
