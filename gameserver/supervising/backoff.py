"""How long to wait before what has ended is started again."""

from __future__ import annotations

from gameserver.runtime.clock import Clock

SECOND_NS = 1_000_000_000
FIRST_NS = SECOND_NS // 5
MOST_NS = 30 * SECOND_NS
# What ran for so long does not end for the reason for which it ended before.
STEADY_NS = 60 * SECOND_NS
assert MOST_NS < STEADY_NS


class BackOff:
    """The waits before one worker's starts: none at first, then twice as long each time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_ns = 0
        self._wait_ns = 0

    def started(self) -> None:
        """Note that it was started."""
        self._started_ns = self._clock.now_ns()

    def ended(self, *, in_order: bool) -> float:
        """Note that it has ended; return the seconds to wait before it is started again.

        What ended ``in_order`` was asked to, and is not waited for.
        """
        ran_ns = self._clock.now_ns() - self._started_ns
        if in_order or ran_ns >= STEADY_NS:
            self._wait_ns = 0
            if in_order:
                return 0.0
        self._wait_ns = min(max(2 * self._wait_ns, FIRST_NS), MOST_NS)
        return self._wait_ns / SECOND_NS
