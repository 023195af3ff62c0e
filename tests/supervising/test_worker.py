"""A worker's process, which may end at any moment."""

from __future__ import annotations

import asyncio
import os
import sys

from gameserver.supervising.worker import Start, Worker
from tests.net.rig import ManualClock


async def _ended() -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await process.wait()
    return process


async def test_a_worker_that_has_just_ended_can_be_told_to_go_all_the_same() -> None:
    worker = Worker(0, Start(dict(os.environ), 0, 1), ManualClock(), lambda code: None)
    worker._process = await _ended()  # As it is until its task has had its turn.
    worker.leave()
    worker.kill()
