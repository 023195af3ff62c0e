"""What the runtime counts: plain numbers that are read when somebody asks.

Whoever serves them gives them their names. Histograms have fixed bounds in milliseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

LATENCY_BOUNDS_MS = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 250, 500, 1000, 2500)


class Histogram:
    """Counts by bound, with sum and number, as Prometheus wants them."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...] = LATENCY_BOUNDS_MS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """All counters of a node's rooms, ticks and commits."""

    def __init__(self) -> None:
        self.rooms_open: dict[str, int] = {}
        self.rooms_opened_total = 0
        self.rooms_recovered_total = 0
        self.rooms_ended_total = 0
        self.rooms_set_aside_total = 0
        self.entries_replayed_total = 0
        self.ticks_total = 0
        self.slots_total = 0
        self.slots_skipped_total = 0
        self.slots_paused_total = 0
        self.beat_ms = 50.0  # Between two ticks of a room that is due in each, smoothed.
        self.late_ms = 0  # Of slots, smoothed.
        self.overloaded = 0
        self.overloads_total = 0
        self.turned_away_total = 0
        self.commits_total = 0
        self.commits_repeated_total = 0
        self.commits_poisoned_total = 0
        self.rooms_stalled_total = 0
        self.shards_fenced_total = 0
        self.entries_total = 0
        self.snapshots_total = 0
        self.rings_refilled_total = 0
        self.resumed_gapless_total = 0
        self.resumed_full_total = 0
        self.caught_up_total = 0
        self.handovers_total = 0
        self.directory_failures_total = 0
        # Of shards, by cause: nobody had it, its owner is gone, its owner gave it.
        self.takeovers_total = {"free": 0, "takeover": 0, "handover": 0}
        self.shards = 0
        self.nodes_live = 1
        self.shards_owned = 0
        self.lease_lag_ms = 0
        self.commands_total: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.command_latency_ms: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.deferred_total: defaultdict[str, int] = defaultdict(int)
        self.slot_ms = Histogram()
        self.slot_late_ms = Histogram()
        self.commit_ms = Histogram()

    def count_command(self, command: str, outcome: str, latency_ms: int) -> None:
        """Count a command that was answered."""
        self.commands_total[command, outcome] += 1
        self.command_latency_ms[command].observe(latency_ms)

    def count_deferred(self, why: str) -> None:
        """Count a command that was put off."""
        self.deferred_total[why] += 1
