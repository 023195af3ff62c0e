"""Who is shown what: the changes of a tick, and full states, sorted by viewer.

All lists are flat: record, field, value, and again. Field 0 is the record itself: its value is
[parent, field, key] when it appears and nil when it is gone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import msgspec

from gameserver.engine.changes import ADDED, REMOVED, ChangeLog, Item
from gameserver.engine.fields import SEEN_BY, Field, Visibility
from gameserver.engine.records import NO_SEAT, Record

PUBLIC = Visibility.PUBLIC
PRIVATE = Visibility.PRIVATE
SECRET = Visibility.SECRET

Flat = list[Any]


class Changes(msgspec.Struct, gc=False):
    """A tick's changes: ``every`` one, the ``public`` ones, and what only some seats are shown.

    ``every`` is for the digest; ``public is every`` when nothing was kept from anybody. ``groups``
    are pairs of seats as bits, none in two groups, and what all of them are shown; ``own`` is what
    single seats are shown besides.
    """

    every: Flat
    public: Flat
    groups: list[list[Any]] = []
    own: dict[int, Flat] = {}


def changes_of(items: list[Item]) -> Changes:
    """Sort a tick's writes by who may see them; of several writes to a field the last counts."""
    every: Flat = []
    public = every
    own: dict[int, Flat] = {}
    seen: set[int] = set()
    for record, what, _ in items:
        reach = what.reach
        if reach is None:
            return _Sorter(items).sorted()
        state = record.__dict__
        number, field_number = state["record_number"], what.number
        place = number << 8 | field_number
        if place in seen:
            continue
        seen.add(place)
        change = (number, field_number, state[what.name])
        if reach is PUBLIC:
            every += change
            if public is not every:
                public += change
        else:
            if public is every:
                public = every[:]
            every += change
            if reach is PRIVATE:
                _to_seat(own, record.seat, change)
    return Changes(every, public, [], own)


def _last_of(items: list[Item]) -> dict[int, tuple[Record, Any]]:
    """Return what was last done in each place."""
    last: dict[int, tuple[Record, Any]] = {}
    for record, what, _ in items:
        place = record.record_number << 8
        if what.__class__ is Field:
            last[place | what.number] = (record, what)
        elif what is REMOVED and place in last:
            last[place] = (record, None)  # It came and went within the tick: it was never there.
        else:
            last[place] = (record, what)
    return last


class _Sorter:
    """Sorts the changes of a tick in which not everything is for everybody.

    ``shares`` has what is for several seats, by their bits; ``before`` the bits of ``seen_by`` at
    the beginning of the tick, where they were written since.
    """

    def __init__(self, items: list[Item]) -> None:
        self.last = _last_of(items)
        self.every: Flat = []
        self.public: Flat = []
        self.own: dict[int, Flat] = {}
        self.shares: dict[int, Flat] = {}
        self.before: dict[int, int] = {}
        for record, what, old in items:
            if what.__class__ is Field and what.name == SEEN_BY:
                self.before.setdefault(record.record_number, old)

    def sorted(self) -> Changes:
        last, every = self.last, self.every
        turned: set[int] = set()
        for record, what in last.values():
            number = record.record_number
            if what is ADDED:
                self._appear(record)
            elif what is REMOVED:
                every += (number, 0, None)
                self._to(record, self._seen_before(record), (number, 0, None))
            elif what is not None and number << 8 not in last:
                change = (number, what.number, record.__dict__[what.name])
                every += change
                if number not in self.before:
                    self._write(record, what, _seen_by(record), change)
                elif number not in turned:
                    turned.add(number)
                    self._turn(record)
        return Changes(every, self.public, _groups(self.shares), self.own)

    def _appear(self, record: Record) -> None:
        self.every += (*appearance(record), record.seat)  # Whose it is counts in the digest.
        for field in record.fields:
            self.every += (record.record_number, field.number, record.__dict__[field.name])
        self._show(record, _seen_by(record))

    def _show(self, record: Record, seen_by: int) -> None:
        """Send the whole record to those seats (or to its audience, without ``seen_by``)."""
        flat = appearance(record)
        for field in record.fields:
            if field.visibility is PUBLIC:
                flat += (record.record_number, field.number, record.__dict__[field.name])
        self._to(record, seen_by, flat)
        if record.has_private and not record.has_seen_by and record.audience is PUBLIC:
            # The private frame goes first, so it must say of which record it speaks.
            _to_seat(self.own, record.seat, appearance(record))
        self._own_fields(record, seen_by, record.fields)

    def _write(self, record: Record, field: Field, seen_by: int, change: Any) -> None:
        """Send one changed field to those who saw the record before and see it now."""
        if field.visibility is PUBLIC:
            self._to(record, seen_by, change)
        elif field.visibility is PRIVATE:
            self._own_fields(record, seen_by, (field,))

    def _turn(self, record: Record) -> None:
        """Some seats gain the record, some lose it, some see it change."""
        number, now, before = record.record_number, _seen_by(record), self._seen_before(record)
        self._show(record, now & ~before)
        self._share(before & ~now, (number, 0, None))
        for field in record.fields:
            if number << 8 | field.number in self.last:
                change = (number, field.number, record.__dict__[field.name])
                self._write(record, field, now & before, change)

    def _own_fields(self, record: Record, seen_by: int, fields: Iterable[Field]) -> None:
        """Send the private ones of these fields to the record's seat, if it sees the record."""
        seat = record.seat
        if not record.has_private or seat == NO_SEAT or record.audience is SECRET:
            return
        if record.has_seen_by and not seen_by >> seat & 1:
            return
        for field in fields:
            if field.visibility is PRIVATE:
                change = (record.record_number, field.number, record.__dict__[field.name])
                _to_seat(self.own, seat, change)

    def _seen_before(self, record: Record) -> int:
        return self.before.get(record.record_number, _seen_by(record))

    def _to(self, record: Record, seen_by: int, flat: Any) -> None:
        if record.has_seen_by:
            self._share(seen_by, flat)
        elif record.audience is PUBLIC:
            self.public += flat
        elif record.audience is PRIVATE:
            _to_seat(self.own, record.seat, flat)

    def _share(self, seats: int, flat: Any) -> None:
        if seats in self.shares:
            self.shares[seats] += flat
        elif seats:
            self.shares[seats] = list(flat)


def _to_seat(own: dict[int, Flat], seat: int, flat: Any) -> None:
    if seat in own:
        own[seat] += flat
    elif seat != NO_SEAT:
        own[seat] = list(flat)


def _groups(shares: dict[int, Flat]) -> list[list[Any]]:
    """Split seats into groups that are shown the same; each with all that its seats are shown."""
    groups: list[list[Any]] = []
    for mask, flat in shares.items():
        fresh = mask
        for group in groups[:]:
            members, shown = group
            both = members & mask
            if both:
                fresh ^= both
                if both != members:
                    groups.append([members ^ both, shown])
                group[:] = (both, shown + flat)
        if fresh:
            groups.append([fresh, flat])
    return groups


@functools.lru_cache(maxsize=4096)
def seats_in(bits: int) -> tuple[int, ...]:
    """Return the seats whose bits are set, lowest first. The same bits come tick after tick."""
    seats = []
    while bits:
        low = bits & -bits
        seats.append(low.bit_length() - 1)
        bits ^= low
    return tuple(seats)


def appearance(record: Record) -> Flat:
    """Return the change that says where a record appears."""
    parent, home = record.parent, record.home
    if parent is None or home is None:
        return [record.record_number, 0, [0, 0, None]]
    return [record.record_number, 0, [parent.record_number, home.number, record.key]]


def _seen_by(record: Record) -> int:
    seats: int = record.__dict__[SEEN_BY] if record.has_seen_by else 0
    return seats


def full_public(roots: tuple[Record, ...]) -> Flat:
    """Return all that everybody may see, in canonical order, parents first."""
    flat: Flat = []
    for root in roots:
        _list_public(flat, type(root), (root,))
    return flat


def _list_public(flat: Flat, kind: type[Record], records: Iterable[Record]) -> None:
    """List records of one class and all below them: a state may have thousands."""
    is_for_all = kind.audience is PUBLIC and not kind.has_seen_by
    fields, children = kind.public_fields, kind.children
    for record in records:
        state = record.__dict__
        if is_for_all:
            number = state["record_number"]
            if state["parent"] is not None:
                flat += (
                    number,
                    0,
                    (state["parent"].record_number, state["home"].number, record.key),
                )
            for field_number, name in fields:
                flat += (number, field_number, state[name])
        for child in children:
            held = state[child.name]
            _list_public(flat, child.record, held if child.is_table else (held,))


def full_private(log: ChangeLog, seat: int) -> Flat:
    """Return what this seat may see beyond that."""
    own: dict[int, Record] = log.owned.get(seat, {})
    seen = {number: one for number, one in log.shown.items() if _seen_by(one) >> seat & 1}
    flat: Flat = []
    for number, record in sorted((own | seen).items()):
        mine = record.seat == seat
        if number in seen or (record.audience is PRIVATE and mine):
            _list_record(flat, record, own=mine)
        elif record.audience is PUBLIC and not record.has_seen_by:
            for field in record.fields:
                if field.visibility is PRIVATE:
                    flat += (number, field.number, record.__dict__[field.name])
    return flat


def _list_record(flat: Flat, record: Record, *, own: bool) -> None:
    if record.parent is not None:
        flat += appearance(record)
    for field in record.fields:
        if field.visibility is PUBLIC or (own and field.visibility is PRIVATE):
            flat += (record.record_number, field.number, record.__dict__[field.name])
