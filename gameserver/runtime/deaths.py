"""Which nodes were seen to die, and for how long that is believed.

A link that breaks shows a death at once, and may be wrong: something between two nodes may have
refused for the other. Whoever goes on beating lives.
"""

from __future__ import annotations

from collections.abc import Iterable

from gameserver.runtime.clock import NS_PER_MS, Clock
from persistence.directory import NodeRecord

NEWS_MS = 3_000  # Longer than it takes until a heartbeat is too old to count.


class Deaths:
    """Instances that were seen to die, by the names they had."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[str, int]] = {}  # With the moment.

    @property
    def names(self) -> tuple[str, ...]:
        """Return whoever was seen to die and has not come back."""
        return tuple(sorted(self._seen))

    @property
    def news(self) -> tuple[str, ...]:
        """Return whoever was seen to die a moment ago.

        Whoever died before that has a heartbeat that is old; and if it has not, another one
        bears the name, of whom the directory has not told yet.
        """
        since_ns = self._clock.now_ns() - NEWS_MS * NS_PER_MS
        return tuple(name for name in self.names if self._seen[name][1] >= since_ns)

    def add(self, name: str, instance: str) -> None:
        """Take in that an instance was seen to die."""
        self._seen[name] = (instance, self._clock.now_ns())

    def has(self, record: NodeRecord) -> bool:
        """Tell whether it is this instance that was seen to die."""
        return self._seen.get(record.name, ("", 0))[0] == record.instance

    def forget_living(self, records: Iterable[NodeRecord], lapse_ms: int) -> None:
        """Forget whose name another one bears, and who has a record that it must have renewed.

        A record that nobody renews is gone after ``lapse_ms``.
        """
        lapsed_ns = self._clock.now_ns() - 2 * lapse_ms * NS_PER_MS
        for record in records:
            instance, died_ns = self._seen.get(record.name, (record.instance, lapsed_ns))
            if instance != record.instance or died_ns < lapsed_ns:
                del self._seen[record.name]
