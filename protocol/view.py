"""One room as its viewer sees it, kept by Full, Delta and Private.

    Exception
      Desync     the server spoke of a record that this view does not have

It knows records, fields and ticks by number; what they are called is told by ``protocol.names``.
It never asks for anything: on a gap it says so, and whoever holds the connection asks for the full
state. A view belongs to one seat, or to somebody watching.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec import Struct

from protocol.messages import Delta, Full, Private

ROOM_RECORD = 1
GAME_RECORD = 2
NEVER = -1  # The tick of a view that has not been filled.

Key = int | str | bytes | tuple[Any, ...] | None
Value = bool | int | str | bytes | tuple[Any, ...]

_NONE: Mapping[Any, int] = MappingProxyType({})


class Desync(Exception):
    """The server spoke of a record that this view does not have. It takes a Full to mend it."""


class Place(NamedTuple):
    """Where a record hangs: in a table of its parent by key, or as its only one (key None)."""

    parent: int
    field: int
    key: Key


class Applied(Struct, frozen=True, gc=False):
    """The view took a message, or it was a ``repeat``, which changes nothing.

    ``closes`` says that nothing more of this tick is coming: the view is whole.
    """

    tick: int
    changes: list[Any]
    closes: bool
    full: bool = False
    repeat: bool = False


class Gap(Struct, frozen=True, gc=False):
    """The message builds on a tick this view never saw. The view is as it was."""

    have_tick: int
    base: int


class View:
    """Records by number, each with its fields by number.

    ``closed_tick`` is the tick to resume from, None while there is nothing to build on.
    """

    __slots__ = ("_children", "closed_tick", "places", "private_tick", "records", "shared_tick")

    def __init__(self) -> None:
        self.records: dict[int, dict[int, Value]] = {}
        self.places: dict[int, Place] = {}
        self._children: dict[int, dict[int, dict[Key, int]]] = {}
        self.shared_tick = NEVER
        self.private_tick = NEVER
        self.closed_tick: int | None = None

    def value(self, record: int, field: int, default: Any = None) -> Any:
        """Return a field's value, or ``default`` if it is not seen."""
        fields = self.records.get(record)
        return default if fields is None else fields.get(field, default)

    def children(self, parent: int, field: int) -> Mapping[Any, int]:
        """Return the records of a table by key, in the order in which they appeared."""
        return self._children.get(parent, {}).get(field, _NONE)

    def child(self, parent: int, field: int, key: Key = None) -> int | None:
        """Return the number of one record below ``parent``, or None if it is not seen."""
        return self.children(parent, field).get(key)

    def apply(self, message: Full | Delta | Private) -> Applied | Gap:
        """Take one message in. After ``Desync`` all but a Full are answered with ``Gap``."""
        if isinstance(message, Delta):
            if message.tick <= self.shared_tick:
                return Applied(message.tick, [], closes=False, repeat=True)
            base = message.tick - message.step
            if base > self.shared_tick:
                return Gap(self.shared_tick, base)
            self._change(message.changes)
            self.shared_tick = self.closed_tick = message.tick
            return Applied(message.tick, message.changes, closes=True)
        if isinstance(message, Private):
            return self._apply_private(message)
        return self._apply_full(message)

    def dump(self) -> tuple[tuple[int, Place | None, tuple[tuple[int, Value], ...]], ...]:
        """Return all that is seen in one fixed order, for comparing two views."""
        return tuple(
            (number, self.places.get(number), tuple(sorted(fields.items())))
            for number, fields in sorted(self.records.items())
        )

    def _apply_private(self, message: Private) -> Applied | Gap:
        if message.tick <= self.private_tick:
            return Applied(message.tick, [], closes=False, repeat=True)
        base = message.tick - message.step
        if base > self.private_tick:
            return Gap(self.private_tick, base)
        self._change(message.changes)
        self.private_tick = message.tick
        if not message.more:
            self.closed_tick = message.tick
        return Applied(message.tick, message.changes, closes=not message.more)

    def _apply_full(self, message: Full) -> Applied:
        # The two roots are always there: no list says that they appear.
        self.records = {ROOM_RECORD: {}, GAME_RECORD: {}}
        self.places = {}
        self._children = {}
        self._change(message.public_changes)
        self._change(message.private_changes)
        self.shared_tick = self.private_tick = self.closed_tick = message.tick
        changes = message.public_changes + message.private_changes
        return Applied(message.tick, changes, closes=True, full=True)

    def _change(self, changes: list[Any]) -> None:
        try:
            self._change_each(changes)
        except (KeyError, TypeError, ValueError) as error:
            self.shared_tick = self.private_tick = NEVER
            self.closed_tick = None
            raise Desync(f"{type(error).__name__}: {error}") from error

    def _change_each(self, changes: list[Any]) -> None:
        records = self.records
        items = iter(changes)
        for number, field, value in zip(items, items, items, strict=True):
            if field:
                records[number][field] = _fixed(value) if type(value) is list else value
            elif value is None:
                if number in records:
                    self._remove(number)
            else:
                self._appear(number, value)

    def _appear(self, number: int, value: list[Any]) -> None:
        place = Place(*_fixed(value))
        if self.places.get(number, place) != place:
            raise ValueError(f"record {number} moves, which records do not")
        # It may appear again: both the private and the shared frame of a tick say so.
        self.records.setdefault(number, {})
        if place.parent:  # The roots have none.
            self.places[number] = place
            tables = self._children.setdefault(place.parent, {})
            tables.setdefault(place.field, {})[place.key] = number

    def _remove(self, number: int) -> None:
        """Remove a record and all below it."""
        below = [number]
        while below:
            gone = below.pop()
            self.records.pop(gone, None)
            for table in self._children.pop(gone, {}).values():
                below += table.values()
            place = self.places.pop(gone, None)
            if place is not None and place.parent in self._children:
                table = self._children[place.parent][place.field]
                if table.get(place.key) == gone:  # Its key may belong to a newer record already.
                    del table[place.key]


def _fixed(value: list[Any]) -> tuple[Any, ...]:
    return tuple(_fixed(item) if type(item) is list else item for item in value)
