"""How often each duration came, in buckets that can be added up across processes.

Up to 63 µs every microsecond has its own bucket; above, each doubling is cut into 32, so a quantile
is at most 1/32 too high and never too low.
"""

import math
from collections.abc import Iterable

SUB_BITS = 5
EXACT = 1 << SUB_BITS + 1

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}


def bucket_of(value_us: int) -> int:
    """Return the number of the bucket that a duration falls into."""
    if value_us < EXACT:
        return max(value_us, 0)
    shift = value_us.bit_length() - SUB_BITS - 1
    return (shift << SUB_BITS) + (value_us >> shift)


def highest_of(bucket: int) -> int:
    """Return the longest duration that falls into a bucket."""
    if bucket < EXACT:
        return bucket
    shift = (bucket >> SUB_BITS) - 1
    lowest = (bucket - (shift << SUB_BITS)) << shift
    return lowest + (1 << shift) - 1


class Histogram:
    """Counts of durations in microseconds."""

    __slots__ = ("buckets", "count", "max_us")

    def __init__(self, buckets: Iterable[tuple[int, int]] = (), max_us: int = 0) -> None:
        self.buckets: dict[int, int] = dict(buckets)
        self.count = sum(self.buckets.values())
        self.max_us = max_us

    def add(self, value_us: int) -> None:
        """Count one duration."""
        bucket = bucket_of(value_us)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        self.max_us = max(self.max_us, value_us)

    def merge(self, other: "Histogram") -> None:
        """Add another's counts to these."""
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.max_us = max(self.max_us, other.max_us)

    def quantile(self, share: float) -> int | None:
        """Return the duration that this share of all does not exceed; None if there are none."""
        if not self.count:
            return None
        # 0.99 × 100 is a little more than 99 in floats; rank 100 would be wrong.
        rank = max(1, math.ceil(share * self.count - 1e-9))
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return min(highest_of(bucket), self.max_us)
        return self.max_us

    def summary_ms(self) -> dict[str, float | int | None]:
        """Return count, quantiles and maximum, in milliseconds."""
        summary: dict[str, float | int | None] = {"count": self.count}
        for name, share in QUANTILES.items():
            value_us = self.quantile(share)
            summary[name] = None if value_us is None else value_us / 1000
        summary["max"] = self.max_us / 1000 if self.count else None
        return summary
