"""Keeps the beat: five slots of 10 ms, each with an absolute deadline.

A late slot does not shift the ones after it; what is too late to make up for is skipped and
counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.runtime.metrics import Metrics

SLOTS = 5
SLOT_NS = 10 * NS_PER_MS
TICK_MS = SLOTS * SLOT_NS // NS_PER_MS
LAG_SLOTS_MAX = SLOTS  # A whole beat late: catching up would only make the next ones late too.
assert TICK_MS == 50


class Slots:
    """Calls ``run_slot(slot, beat)`` on time; the beat stands still while ``is_paused()``."""

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        run_slot: Callable[[int, int], None],
        is_paused: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._run_slot = run_slot
        self._is_paused = is_paused
        self._stopping = False
        self._deadline_ns: int | None = None  # Of the slot under way, once there is one.
        self.beat = 0

    def beat_now(self) -> int:
        """Return the beat of this moment; after a standstill it is ahead of the last one run."""
        if self._deadline_ns is None or self._is_paused():
            return self.beat
        late_ns = max(self._clock.now_ns() - self._deadline_ns, 0)
        return self.beat + late_ns // (SLOTS * SLOT_NS)

    async def run(self) -> None:
        """Keep the beat until ``stop``."""
        clock, metrics = self._clock, self._metrics
        deadline_ns = clock.now_ns()
        slot = SLOTS - 1
        while not self._stopping:
            deadline_ns += SLOT_NS
            self._deadline_ns = deadline_ns
            late_ns = clock.now_ns() - deadline_ns
            if late_ns < 0:
                await asyncio.sleep(-late_ns / 1e9)
                late_ns = max(clock.now_ns() - deadline_ns, 0)
            else:
                await asyncio.sleep(0)  # However late, sockets get their turn.
            late_slots = late_ns // SLOT_NS
            passed = slot + 1
            if late_slots >= LAG_SLOTS_MAX:
                metrics.slots_skipped_total += late_slots
                deadline_ns += late_slots * SLOT_NS
                passed += late_slots
            slot = passed % SLOTS
            self._count(passed // SLOTS)
            began_ns = clock.now_ns()
            self._run_slot(slot, self.beat)
            metrics.slots_total += 1
            metrics.slot_late_ms.observe(late_ns / NS_PER_MS)
            metrics.slot_ms.observe((clock.now_ns() - began_ns) / NS_PER_MS)

    def _count(self, beats: int) -> None:
        """Skipped beats pass, paused ones do not."""
        if self._is_paused():
            self._metrics.beats_paused_total += beats
        else:
            self.beat += beats

    def stop(self) -> None:
        """End after the slot under way."""
        self._stopping = True
