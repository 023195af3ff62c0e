"""Where the runtime gets its time and its randomness, so that a simulation can give it its own."""

from __future__ import annotations

import os
import time
from typing import Protocol

NS_PER_MS = 1_000_000


class Clock(Protocol):
    """Monotonic time for deadlines, wall time for records, and bytes that nobody can predict."""

    def now_ns(self) -> int:
        """Return monotonic nanoseconds."""

    def wall_ms(self) -> int:
        """Return milliseconds since 1970."""

    def entropy(self, count: int) -> bytes:
        """Return ``count`` unpredictable bytes."""


class SystemClock:
    """The machine's own."""

    def now_ns(self) -> int:
        """Return monotonic nanoseconds."""
        return time.monotonic_ns()

    def wall_ms(self) -> int:
        """Return milliseconds since 1970."""
        return time.time_ns() // NS_PER_MS

    def entropy(self, count: int) -> bytes:
        """Return ``count`` unpredictable bytes."""
        return os.urandom(count)
