"""The change log: every write of a tick, in order, with what was there before.

One mechanism serves three ends: undo within a tick, the deltas of a tick, and the test that a
refused command left no trace. It knows records only by what it needs to take a write back, and
keeps those at hand that belong to a seat or are shown to some seats, so that nobody has to walk
through the whole state to find them.
"""

from __future__ import annotations

from typing import Any, Protocol


class Logged(Protocol):
    """A record, as far as the log must know it."""

    __dict__: dict[str, Any]
    record_number: Any

    def unmake(self) -> None:
        """Leave the state, past the log."""

    def remake(self) -> None:
        """Come back into the state, past the log."""


class Mark:
    """Stands in a log item where a field would: the record came into being, or ended."""

    __slots__ = ("name",)
    reach = None

    def __init__(self, name: str) -> None:
        self.name = name


ADDED = Mark("added")
REMOVED = Mark("removed")

Item = tuple[Any, Any, Any]


class ChangeLog:
    """Writes of the tick under way, the next free record number, and who has which records.

    ``items`` holds (record, field, old value), or (record, ADDED or REMOVED, None). The list is
    one and the same object for the life of a room, so that all records may keep it.
    ``owned`` has the records of each seat, ``shown`` those with ``seen_by``, both by number.
    """

    __slots__ = ("items", "next_number", "owned", "shown")

    def __init__(self, next_number: int = 1) -> None:
        self.items: list[Item] = []
        self.next_number = next_number
        self.owned: dict[int, dict[int, Any]] = {}
        self.shown: dict[int, Any] = {}

    def mark(self) -> int:
        """Return the present point, for ``undo_to``."""
        return len(self.items)

    def undo_to(self, mark: int) -> None:
        """Take back every write since ``mark``, newest first."""
        items = self.items
        while len(items) > mark:
            record, what, old = items.pop()
            if what is ADDED:
                record.unmake()
                # The numbers of undone records were never seen.
                self.next_number = record.record_number
            elif what is REMOVED:
                record.remake()
            else:
                record.__dict__[what.name] = old
