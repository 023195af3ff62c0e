"""All deadlines of all connections, on one timer.

A wheel has slots of equal length. What is due in a slot is asked once the slot has passed, so it
is asked up to one slot late and never early. The wheel reads no clock: `advance` is told the time.
"""

from typing import Protocol


class Timed(Protocol):
    """Something with deadlines."""

    def due(self, now_ns: int) -> int | None:
        """Do what is due by ``now_ns``; return when to be asked again, or None for never."""


class Wheel:
    """Which thing is to be asked when; each thing at most once."""

    __slots__ = ("_passed", "_slot_by_timed", "_slot_ns", "_slots")

    def __init__(self, now_ns: int, slot_ns: int) -> None:
        assert slot_ns > 0, "a slot has a length"
        self._slot_ns = slot_ns
        self._passed = now_ns // slot_ns
        # Dicts, because they keep their order and forget a member at once.
        self._slots: dict[int, dict[Timed, None]] = {}
        self._slot_by_timed: dict[Timed, int] = {}

    def __len__(self) -> int:
        return len(self._slot_by_timed)

    def put(self, timed: Timed, due_ns: int) -> None:
        """Ask ``timed`` at ``due_ns``, and not at the time it had before."""
        # Rounded up, so that nothing is asked early.
        slot = max(-(-due_ns // self._slot_ns), self._passed + 1)
        if self._slot_by_timed.get(timed) == slot:
            return
        self.remove(timed)
        self._slot_by_timed[timed] = slot
        self._slots.setdefault(slot, {})[timed] = None

    def remove(self, timed: Timed) -> None:
        """Forget ``timed``, if it is here."""
        slot = self._slot_by_timed.pop(timed, None)
        if slot is not None:
            members = self._slots[slot]
            del members[timed]
            if not members:
                del self._slots[slot]

    def advance(self, now_ns: int) -> None:
        """Ask everything that is due by ``now_ns``."""
        until = now_ns // self._slot_ns
        if until - self._passed > len(self._slots):
            passed = sorted(slot for slot in self._slots if slot <= until)
        else:
            passed = [slot for slot in range(self._passed + 1, until + 1) if slot in self._slots]
        self._passed = max(self._passed, until)
        for slot in passed:
            # What is asked may remove others of its slot, and itself.
            while members := self._slots.get(slot):
                timed = next(iter(members))
                self.remove(timed)
                again_ns = timed.due(now_ns)
                if again_ns is not None and timed not in self._slot_by_timed:
                    self.put(timed, again_ns)
