"""What was counted and measured; tallies of several processes add up to one.

It travels between processes as plain data.
"""

from collections import Counter
from typing import Any

from scripts.loadtest.histogram import Histogram

TEXTS_MAX = 20  # Of desyncs and errors the first few are told in words; all are counted.

HISTOGRAMS = ("outcome", "delta", "outcome_over_reconnect", "join", "lag")


class Tally:
    """Counts by name, durations, and what went wrong in words."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.closes: Counter[str] = Counter()
        self.times: dict[str, Histogram] = {name: Histogram() for name in HISTOGRAMS}
        self.texts: list[str] = []
        # What came since it was last looked at, for the live line; it does not travel along.
        self.fresh = Histogram()

    def count(self, name: str, by: int = 1) -> None:
        """Count something that is neither good nor bad."""
        self.counts[name] += by

    def error(self, kind: str, text: str) -> None:
        """Count something that must not happen."""
        self.errors[kind] += 1
        self._tell(f"error  {kind}: {text}")

    def desync(self, text: str) -> None:
        """Count a difference between what was shown and what is."""
        self.counts["desyncs"] += 1
        self._tell(f"desync  {text}")

    def merge(self, other: "Tally") -> None:
        """Add another process's tally to this one."""
        for name in ("counts", "accepted", "refused", "errors", "closes"):
            getattr(self, name).update(getattr(other, name))
        for name, histogram in other.times.items():
            self.times[name].merge(histogram)
        for text in other.texts:
            self._tell(text)

    def to_plain(self) -> dict[str, Any]:
        """Return this as plain data."""
        return {
            "counts": dict(self.counts),
            "accepted": dict(self.accepted),
            "refused": dict(self.refused),
            "errors": dict(self.errors),
            "closes": dict(self.closes),
            "times": {
                name: {"buckets": sorted(one.buckets.items()), "max_us": one.max_us}
                for name, one in self.times.items()
            },
            "texts": self.texts,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Tally":
        """Return the tally that was made plain."""
        tally = cls()
        tally.counts.update(plain["counts"])
        tally.accepted.update(plain["accepted"])
        tally.refused.update(plain["refused"])
        tally.errors.update(plain["errors"])
        tally.closes.update(plain["closes"])
        for name, one in plain["times"].items():
            buckets = ((int(bucket), int(count)) for bucket, count in one["buckets"])
            tally.times[name] = Histogram(buckets, one["max_us"])
        tally.texts = list(plain["texts"])
        return tally

    def take_fresh(self) -> Histogram:
        """Return the waits for outcomes since this was last asked, and begin anew."""
        fresh, self.fresh = self.fresh, Histogram()
        return fresh

    def _tell(self, text: str) -> None:
        if len(self.texts) < TEXTS_MAX:
            self.texts.append(text)
