"""Runs what only one node of a cluster may run.

Which one is decided by storage: the task is claimed there, under an epoch that only grows, and
what the task writes is refused once somebody else has claimed it. A node alone claims it too, and
always has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gameserver.runtime.clock import NS_PER_MS, Clock
from persistence.interfaces import Declined, StorageError, Store
from persistence.ownership import TaskFence

CLAIM_S = 10.0
STALE_MS = 30_000
CALL_TIMEOUT_S = 5.0
assert CLAIM_S * 1000 * 2 < STALE_MS  # One claim may be lost.

log = structlog.get_logger(__name__)


class Elected:
    """One task: ``job`` is run every ``interval_s``, by the node that has the task.

    ``runner`` names this very process, so that one that is started again has an epoch of its own.
    """

    def __init__(
        self,
        task: str,
        runner: str,
        store: Store,
        clock: Clock,
        schedule: tuple[Callable[[TaskFence], Awaitable[None]], float],
    ) -> None:
        self._task = task
        self._runner = runner
        self._store = store
        self._clock = clock
        self._job, self._interval_s = schedule
        self._due_ns = 0
        self.fence: TaskFence | None = None

    async def run(self) -> None:
        """Claim the task and run it when it is due, for ever."""
        async with asyncio.TaskGroup() as tasks:
            running: asyncio.Task[None] | None = None
            while True:
                await self._claim()
                is_idle = running is None or running.done()
                if self.fence is not None and is_idle and self._clock.now_ns() >= self._due_ns:
                    self._due_ns = self._clock.now_ns() + int(self._interval_s * 1000) * NS_PER_MS
                    running = tasks.create_task(self._run_once(self.fence))
                await asyncio.sleep(CLAIM_S)

    async def _claim(self) -> None:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                epoch = await self._store.claim_task(self._task, self._runner, STALE_MS)
        except (StorageError, TimeoutError) as error:
            log.warning("task_not_claimed", task=self._task, error=repr(error))
            return
        if epoch is not None and self.fence is None:
            log.info("task_claimed", task=self._task, epoch=epoch)
        self.fence = None if epoch is None else TaskFence(self._task, epoch)

    async def _run_once(self, fence: TaskFence) -> None:
        try:
            await self._job(fence)
        except (StorageError, TimeoutError, Declined) as error:
            log.error("task_failed", task=self._task, error=repr(error))
        else:
            log.info("task_done", task=self._task)
