"""Whether the beat has more to do than its time allows, and when newcomers may come.

While it has, nobody new is let in: those who play keep what there is. A beat that can be kept has
a slot that is on time, however long another takes; so a beat counts as late as its most punctual
slot. That is averaged over about a second, so that one standstill is no overload.
"""

from __future__ import annotations

import structlog

from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.runtime.metrics import Metrics

AVERAGED_NS = 1_000 * NS_PER_MS
# However long one took, it weighs no more than this: it takes several to be an overload.
WEIGHT_NS_MAX = AVERAGED_NS // 5
# How late a beat counts in which one was skipped, or rooms had to wait for commits.
LOST_NS = 50 * NS_PER_MS
# What is too much by little is late by 0 to 50 ms, then a beat is skipped: by 25 on the average.
BEGINS_NS, ENDS_NS = 20 * NS_PER_MS, 10 * NS_PER_MS
BEATS_AVERAGED = 8
# Those who are turned away come again one after the other, whatever their number. Who would be
# told to wait for longer comes with the first again.
TURN_NS = 5 * NS_PER_MS
TURN_FIRST_NS, TURN_LAST_NS = 1_000 * NS_PER_MS, 30_000 * NS_PER_MS

log = structlog.get_logger(__name__)


class Overload:
    """How late this process is, smoothed, and who is turned away because of it."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._beat_began_ns: int | None = None  # Whatever comes before the first is no beat.
        self._least_ns = LOST_NS  # Of the beat under way.
        self._has_lost = False
        self._has_paused = False
        self._late_ns = 0  # Smoothed.
        self._paused_ns = 0  # The part of it that is because of pauses.
        self._turn_ns = 0
        self.is_on = False

    def see_slot(self, late_ns: int, *, is_after_skipped: bool) -> None:
        """Take note of how late a slot runs."""
        self._least_ns = min(self._least_ns, late_ns)
        self._has_lost = self._has_lost or is_after_skipped

    def see_pause(self) -> None:
        """Take note that rooms have to wait for commits."""
        self._has_lost = self._has_paused = True

    def see_beat(self) -> None:
        """Take note that a beat begins, and judge the one before."""
        now_ns, metrics = self._clock.now_ns(), self._metrics
        began_ns, self._beat_began_ns = self._beat_began_ns, now_ns
        if began_ns is None:
            return
        beat_ns = now_ns - began_ns
        late_ns = LOST_NS if self._has_lost else self._least_ns
        weight_ns = min(beat_ns, WEIGHT_NS_MAX)
        paused_ns = LOST_NS if self._has_paused else 0
        self._late_ns += (late_ns - self._late_ns) * weight_ns // AVERAGED_NS
        self._paused_ns += (paused_ns - self._paused_ns) * weight_ns // AVERAGED_NS
        metrics.late_ms = self._late_ns // NS_PER_MS
        metrics.beat_ms += (beat_ns / NS_PER_MS - metrics.beat_ms) / BEATS_AVERAGED
        if self._late_ns >= BEGINS_NS and not self.is_on:
            self.is_on, metrics.overloaded = True, 1
            metrics.overloads_total += 1
            log.warning("overload_began", why=self.reason)
        elif self._late_ns < ENDS_NS and self.is_on:
            self.is_on, metrics.overloaded = False, 0
            log.info("overload_ended", turned_away=metrics.turned_away_total)
        self._least_ns, self._has_lost, self._has_paused = LOST_NS, False, False

    @property
    def reason(self) -> str:
        """What is wrong, for an operator; "" if nothing is."""
        if not self.is_on:
            return ""
        what = "commits" if 2 * self._paused_ns > self._late_ns else "ticks"
        return f"overloaded: {what} are late, a room ticks every {self._metrics.beat_ms:.0f} ms"

    def turned_away(self) -> int:
        """Count somebody who is turned away; return the milliseconds until they may come again.

        Each gets a moment of its own, so that they do not all come back together.
        """
        self._metrics.turned_away_total += 1
        now_ns = self._clock.now_ns()
        first_ns = now_ns + TURN_FIRST_NS
        self._turn_ns = max(self._turn_ns + TURN_NS, first_ns)
        if self._turn_ns > now_ns + TURN_LAST_NS:
            self._turn_ns = first_ns
        return (self._turn_ns - now_ns) // NS_PER_MS
