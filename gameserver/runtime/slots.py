"""Keeps the beat: five slots of 10 ms, each with an absolute deadline.

A late slot does not shift the ones after it. What is too late to make up for is skipped and
counted, in whole beats: no slot is passed over, so that all rooms are slower alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.overload import Overload

SLOTS = 5
SLOT_NS = 10 * NS_PER_MS
TICK_MS = SLOTS * SLOT_NS // NS_PER_MS
BEAT_NS = SLOTS * SLOT_NS  # Later than this, catching up would only make the next ones late too.
assert TICK_MS == 50


class Slots:
    """Calls ``run_slot(slot, beat)`` on time; the beat stands still while ``is_paused()``."""

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        run_slot: Callable[[int, int], None],
        is_paused: Callable[[], bool],
        overload: Overload,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._run_slot = run_slot
        self._is_paused = is_paused
        self._overload = overload
        self._stopping = False
        self._deadline_ns: int | None = None  # Of the slot under way, once there is one.
        self._slot = SLOTS - 1
        self.beat = 0

    def beat_now(self) -> int:
        """Return the beat of this moment; after a standstill it is ahead of the last one run."""
        if self._deadline_ns is None or self._is_paused():
            return self.beat
        late_ns = max(self._clock.now_ns() - self._deadline_ns, 0)
        return self.beat + late_ns // BEAT_NS

    async def run(self) -> None:
        """Keep the beat until ``stop``."""
        clock, metrics = self._clock, self._metrics
        deadline_ns = clock.now_ns()
        while not self._stopping:
            deadline_ns += SLOT_NS
            self._deadline_ns = deadline_ns
            late_ns = clock.now_ns() - deadline_ns
            if late_ns < 0:
                await asyncio.sleep(-late_ns / 1e9)
                late_ns = max(clock.now_ns() - deadline_ns, 0)
            else:
                await asyncio.sleep(0)  # However late, sockets get their turn.
            late_beats = late_ns // BEAT_NS
            deadline_ns += late_beats * BEAT_NS
            self._pass(late_ns, late_beats)
            began_ns = clock.now_ns()
            self._run_slot(self._slot, self.beat)
            metrics.slots_total += 1
            metrics.slot_late_ms.observe(late_ns / NS_PER_MS)
            metrics.slot_ms.observe((clock.now_ns() - began_ns) / NS_PER_MS)

    def _pass(self, late_ns: int, late_beats: int) -> None:
        """Go on to the next slot, unless rooms are paused: skipped beats pass, paused ones do not.

        Where a pause began it ends, or the same rooms might be passed over in each of many.
        """
        if self._is_paused():
            self._metrics.slots_paused_total += 1 + late_beats * SLOTS
            self._overload.see_pause()
            return
        self._metrics.slots_skipped_total += late_beats * SLOTS
        self.beat += late_beats
        self._slot = (self._slot + 1) % SLOTS
        if self._slot == 0:
            self.beat += 1
            self._overload.see_beat()
        self._overload.see_slot(late_ns, is_after_skipped=late_beats > 0)

    def stop(self) -> None:
        """End after the slot under way."""
        self._stopping = True
