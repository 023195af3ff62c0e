"""Recorded state: a tree of records and tables whose every write is logged.

A rule reads and writes fields as plain attributes. A record that is not yet part of a room may be
written freely; from the moment it is added its writes go to the room's change log.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import (
    Any,
    ClassVar,
    Generic,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from gameserver.engine.changes import ADDED, REMOVED, ChangeLog
from gameserver.engine.fields import (
    INT_MAX,
    MISSING,
    SEEN_BY,
    Declared,
    Field,
    Visibility,
    key_checker,
    part,
    private,
    public,
    secret,
    table,
)

NO_SEAT = -1

K = TypeVar("K", int, str)
R = TypeVar("R", bound="Record")


class Child:
    """A declared table or part of a record class; a table has ``check_key``."""

    __slots__ = ("check_key", "is_table", "name", "number", "record")

    def __init__(self, name: str, number: int, hint: Any) -> None:
        self.name = name
        self.number = number
        self.is_table = get_origin(hint) is Table
        self.record: type[Record] = get_args(hint)[1] if self.is_table else hint
        if not (isinstance(self.record, type) and issubclass(self.record, Record)):
            raise TypeError(f"{name}: {hint!r} holds no records")
        self.check_key: Any = key_checker(get_args(hint)[0], name) if self.is_table else None
        if not self.is_table and any(one.default is MISSING for one in self.record.fields):
            raise TypeError(f"{name}: a part comes to be with its parent, so it needs defaults")


@dataclass_transform(kw_only_default=True, field_specifiers=(public, private, secret, table, part))
class Record:
    """A node of state. Subclasses declare typed fields with ``public``, ``private`` and ``secret``.

    A class may be declared ``audience=Visibility.PRIVATE`` (the whole record is for its seat) or
    ``SECRET`` (for nobody). A class with an int field ``seen_by`` is shown to the seats whose bits
    are set, and to no others; the field itself is best ``secret``, or all of them learn who else
    sees the record. ``seat`` is fixed when the record is added.
    """

    fields: ClassVar[tuple[Field, ...]] = ()
    children: ClassVar[tuple[Child, ...]] = ()
    audience: ClassVar[Visibility] = Visibility.PUBLIC
    has_seen_by: ClassVar[bool] = False
    has_private: ClassVar[bool] = False
    public_fields: ClassVar[tuple[tuple[int, str], ...]] = ()  # Number and name.
    # Gives key, number, seat and values from a record's __dict__ in one go: rooms have thousands.
    row_of: ClassVar[Callable[[dict[str, Any]], tuple[Any, ...]]]
    _by_name: ClassVar[dict[str, Field]] = {}

    # Set when the record joins a room's state, through __dict__ and past the log.
    record_number: ClassVar[int] = 0
    seat: ClassVar[int] = NO_SEAT
    parent: ClassVar[Record | None] = None
    home: ClassVar[Child | None] = None
    key: ClassVar[int | str | None] = None
    _log: ClassVar[Any] = None  # What has happened in the tick; None before the record joins.
    _changes: ClassVar[Any] = None

    def __init_subclass__(cls, audience: Visibility = Visibility.PUBLIC) -> None:
        cls.audience = audience
        cls.fields, cls.children = _declarations(cls)
        cls._by_name = {field.name: field for field in cls.fields}
        cls.row_of = operator.itemgetter("key", "record_number", "seat", *cls._by_name)
        cls.has_seen_by = SEEN_BY in cls._by_name
        cls.has_private = any(field.visibility is Visibility.PRIVATE for field in cls.fields)
        cls.public_fields = tuple(
            (field.number, field.name)
            for field in cls.fields
            if field.visibility is Visibility.PUBLIC
        )
        for field in () if cls.has_seen_by else cls.fields:
            field.reach = max(audience, field.visibility)
        if cls.has_seen_by and audience is not Visibility.PUBLIC:
            raise TypeError(f"{cls.__name__}: either an audience or {SEEN_BY} says who sees it")
        if cls.children and (cls.has_seen_by or audience is not Visibility.PUBLIC):
            raise TypeError(f"{cls.__name__}: a record that not all may see cannot have children")

    def __init__(self, **values: Any) -> None:
        self.blank()
        state = self.__dict__
        for field in self.fields:
            value = values.pop(field.name, field.default)
            if value is MISSING:
                raise TypeError(f"{type(self).__name__}: {field.name} is missing")
            field.check(value)
            state[field.name] = value
        if values:
            raise TypeError(f"{type(self).__name__} has no field {min(values)}")

    def __setattr__(self, name: str, value: Any) -> None:
        field = self._by_name.get(name)
        if field is None:
            raise AttributeError(f"{type(self).__name__} has no field {name} that can be written")
        if type(value) is not int or not field.int_lowest <= value <= INT_MAX:
            field.check(value)
        state = self.__dict__
        old = state[name]
        if old == value:
            return
        log = self._log
        if log is not None:
            log.append((self, field, old))
        state[name] = value

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted")

    def records_below(self) -> Iterator[Record]:
        """Yield the records directly below this one, by field number, then by key."""
        for child in self.children:
            held = self.__dict__[child.name]
            if child.is_table:
                yield from held
            else:
                yield held

    # What follows is for the engine, not for rules.

    def blank(self) -> None:
        """Give the record its defaults and its empty tables and parts, past all checks."""
        state = self.__dict__
        for field in self.fields:
            state[field.name] = field.default
        for child in self.children:
            state[child.name] = Table(self, child) if child.is_table else child.record()

    def join(self, changes: ChangeLog, parent: Record | None, home: Child | None) -> None:
        """Become part of a room's state under a new number."""
        number = changes.next_number
        self.note_place(changes, number, parent, home)
        # It is logged first: whatever raises from here on, undo finds it, even if it is half done.
        changes.items.append((self, ADDED, None))
        changes.next_number = number + 1
        self.remake()

    def join_parts(self, changes: ChangeLog) -> None:
        """Let the parts below become part of the room's state too."""
        for child in self.children:
            if not child.is_table:
                held = self.__dict__[child.name]
                held.__dict__["seat"] = self.seat
                held.join(changes, self, child)
                held.join_parts(changes)

    def note_place(
        self, changes: ChangeLog, number: int, parent: Record | None, home: Child | None
    ) -> None:
        """Note which record this is and where its place is; ``remake`` puts it there."""
        state = self.__dict__
        state["record_number"] = number
        state["parent"] = parent
        state["home"] = home
        state["_changes"] = changes

    def discard(self) -> None:
        """Leave the room's state; the records below end first."""
        for record in tuple(self.records_below()):
            record.discard()
        self._log.append((self, REMOVED, None))
        self.unmake()

    def disown(self) -> None:
        """Belong to no seat any more, past the log: the seat is somebody else's now."""
        self.__dict__["seat"] = NO_SEAT

    def remake(self) -> None:
        """Come (back) into the state, past the log."""
        changes, state = self._changes, self.__dict__
        state["_log"] = changes.items
        for child in self.children:
            if child.is_table:
                state[child.name].changes = changes
        if self.has_seen_by:
            changes.shown[self.record_number] = self
        if self.seat != NO_SEAT:
            changes.owned.setdefault(self.seat, {})[self.record_number] = self
        if self.home is not None and self.home.is_table:
            self.parent.__dict__[self.home.name].keep(self)

    def unmake(self) -> None:
        """Leave the state, past the log; also when it had come into it but half."""
        changes, state = self._changes, self.__dict__
        state["_log"] = _ENDED
        for child in self.children:
            if child.is_table:
                state[child.name].changes = None
        changes.shown.pop(self.record_number, None)
        if self.seat != NO_SEAT:
            changes.owned.get(self.seat, {}).pop(self.record_number, None)
        if self.home is not None and self.home.is_table:
            self.parent.__dict__[self.home.name].forget(self)


class Table(Generic[K, R]):
    """Records by key, always iterated in key order. Keys are ints or strings, never both."""

    __slots__ = ("_order", "_rows", "changes", "child", "owner")

    def __init__(self, owner: Record, child: Child) -> None:
        self.owner = owner
        self.child = child
        self.changes: ChangeLog | None = None
        self._rows: dict[K, R] = {}
        self._order: list[K] | None = None

    def add(self, key: K, record: R, *, seat: int | None = None) -> R:
        """Put a new record under a free key and return it.

        ``seat`` is whose the private fields are; by default that of the record above.
        """
        assert self.changes is not None, "The record above is not part of a room's state."
        self.child.check_key(key)
        assert key not in self._rows, f"{self.child.name}[{key}] is taken."
        assert type(record) is self.child.record, f"{self.child.name} has other records."
        assert record.record_number == 0, "A record is added once."
        seat = self.owner.seat if seat is None else seat
        assert type(seat) is int, "A seat is a number."
        assert seat >= NO_SEAT, "Seats count from 0."
        record.__dict__["key"] = key
        record.__dict__["seat"] = seat
        record.join(self.changes, self.owner, self.child)
        record.join_parts(self.changes)
        return record

    def remove(self, key: K) -> None:
        """End the record under ``key``; KeyError if there is none."""
        self._rows[key].discard()

    def clear(self) -> None:
        """End every record."""
        for record in tuple(self):
            record.discard()

    def get(self, key: K) -> R | None:
        """Return the record under ``key``, or None."""
        return self._rows.get(key)

    def __getitem__(self, key: K) -> R:
        return self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def keys_in_order(self) -> list[K]:
        """Return the keys in order, in a list of the caller's own."""
        return self._ordered()[:]

    def __iter__(self) -> Iterator[R]:
        rows = self._rows
        return iter([rows[key] for key in self._ordered()])

    def _ordered(self) -> list[K]:
        if self._order is None:
            self._order = sorted(self._rows)
        return self._order

    def keep(self, record: Record) -> None:
        """Hold a record under its key, past the log."""
        kept: Any = record
        key: Any = record.key
        self._rows[key] = kept
        if self._order and key > self._order[-1]:
            self._order.append(key)
        else:
            self._order = None

    def forget(self, record: Record) -> None:
        """Let go of a record, past the log."""
        key: Any = record.key
        self._rows.pop(key, None)
        self._order = None


class _Ended:
    """The log of records that have ended."""

    def append(self, item: object) -> None:
        """Refuse it."""
        raise AssertionError("A record that has ended cannot be written.")


_ENDED = _Ended()


_OWN_HINTS = frozenset(get_type_hints(Record))


def _declarations(cls: type[Record]) -> tuple[tuple[Field, ...], tuple[Child, ...]]:
    hints = {name: hint for name, hint in get_type_hints(cls).items() if name not in _OWN_HINTS}
    for name, value in cls.__dict__.items():
        if isinstance(value, Declared) and hasattr(Record, name):
            raise TypeError(f"{cls.__name__}.{name}: every record has this name already")
        if isinstance(value, Declared) and name not in hints:
            raise TypeError(f"{cls.__name__}.{name} has no type")
    fields: list[Field] = []
    children: list[Child] = []
    for name, hint in hints.items():
        declared = cls.__dict__.get(name)
        if not isinstance(declared, Declared):
            raise TypeError(f"{cls.__name__}.{name} is not declared as a field")
        delattr(cls, name)
        if declared.child:
            children.append(Child(name, declared.number, hint))
        else:
            fields.append(Field(name, declared, hint))
    numbers = [field.number for field in fields] + [child.number for child in children]
    if len(set(numbers)) != len(numbers):
        raise TypeError(f"{cls.__name__}: a field number is used twice")
    fields.sort(key=lambda field: field.number)
    children.sort(key=lambda child: child.number)
    return tuple(fields), tuple(children)
