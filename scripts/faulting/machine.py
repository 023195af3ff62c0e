"""Whether the machine itself stood still: what it cannot do in time is no fault of the server.

A guest may be stopped by its host, a disk may not answer for seconds, or others may take all cores.
To players that looks like an outage that nobody planned.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

INTERVAL_S = 0.25
# What a busy machine does all the time is not written down.
LATE_MS_MIN = 1_000
BLOCK = bytes(8_192)


class Machine:
    """Looks at the clock and the disk, again and again. ``stalls_ms`` are those worth telling."""

    def __init__(self, file: Path, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.stalls_ms: list[int] = []
        self._file = file
        self._now_ns = now_ns
        self._since_ns = now_ns()

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.note(INTERVAL_S)
            await asyncio.to_thread(_written, self._file)
            self.note(0.0)

    def note(self, meant_s: float) -> None:
        """Note how much longer it took than it was meant to."""
        now_ns = self._now_ns()
        late_ms = (now_ns - self._since_ns) // 1_000_000 - int(meant_s * 1_000)
        self._since_ns = now_ns
        if late_ms >= LATE_MS_MIN:
            self.stalls_ms.append(late_ms)


def _written(file: Path) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(handle, BLOCK, 0)
        os.fdatasync(handle)
    finally:
        os.close(handle)
