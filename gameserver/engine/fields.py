"""How a record declares its fields: number, type, default, and who may see the value.

A field holds an int, bool, str, bytes, IntEnum, or a tuple of these. Nothing that can change in
place, and no float, is ever accepted, because a write that the change log does not see would be
lost to undo, deltas and replay.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

INT_MAX = 2**53 - 1  # What every client language can hold exactly in a double.
FIELD_NUMBER_MAX = 255
SEEN_BY = "seen_by"  # An int of seat bits, so it serves games of up to 53 seats.


class Visibility(IntEnum):
    """Whom a value reaches: everybody, the record's seat, or nobody."""

    PUBLIC = 0
    PRIVATE = 1
    SECRET = 2


class _Missing(Enum):
    MISSING = 0


MISSING = _Missing.MISSING


class Declared:
    """What ``public``, ``private``, ``secret``, ``table`` and ``part`` leave in a class body."""

    __slots__ = ("child", "default", "number", "visibility")

    def __init__(
        self, number: int, visibility: Visibility, default: object, *, child: bool
    ) -> None:
        if not 1 <= number <= FIELD_NUMBER_MAX:
            raise ValueError(f"field number {number} is not within 1..{FIELD_NUMBER_MAX}")
        self.number = number
        self.visibility = visibility
        self.default = default
        self.child = child


def public(number: int, *, default: Any = MISSING) -> Any:
    """Declare a field that every viewer of the record may see."""
    return Declared(number, Visibility.PUBLIC, default, child=False)


def private(number: int, *, default: Any = MISSING) -> Any:
    """Declare a field that only the record's seat may see."""
    return Declared(number, Visibility.PRIVATE, default, child=False)


def secret(number: int, *, default: Any = MISSING) -> Any:
    """Declare a field that no viewer may ever see."""
    return Declared(number, Visibility.SECRET, default, child=False)


def table(number: int, *, init: Literal[False] = False) -> Any:
    """Declare a table of records; it begins empty."""
    return Declared(number, Visibility.PUBLIC, MISSING, child=True)


def part(number: int, *, init: Literal[False] = False) -> Any:
    """Declare a single record that lives and ends with its parent."""
    return Declared(number, Visibility.PUBLIC, MISSING, child=True)


class Field:
    """A declared value of a record class.

    ``check`` raises TypeError or ValueError for a value that the field cannot hold;
    ``restore`` turns what MessagePack gave back into the declared type. ``reach`` is whom a
    change of the value reaches; None if that is not the same for all records of the class. An int
    from ``int_lowest`` to INT_MAX can be held for certain, without a check.
    """

    __slots__ = (
        *("check", "default", "hint", "int_lowest", "name"),
        *("number", "reach", "restore", "visibility"),
    )

    def __init__(self, name: str, declared: Declared, hint: Any) -> None:
        self.name = name
        self.number = declared.number
        self.visibility = declared.visibility
        self.hint = hint
        self.check = _seats_checker(hint) if name == SEEN_BY else _checker(hint, name)
        self.int_lowest = INT_MAX + 1 if hint is not int else 0 if name == SEEN_BY else -INT_MAX
        self.restore = _restorer(hint)
        self.reach: Visibility | None = None
        self.default = declared.default
        if self.default is not MISSING:
            self.check(self.default)


def _checker(hint: Any, name: str) -> Callable[[object], None]:
    if hint is int:
        return _int_checker(name, -INT_MAX)
    if hint is str:
        return _str_checker(name)
    if hint in (bool, bytes) or (isinstance(hint, type) and issubclass(hint, IntEnum)):

        def check_exact(value: object) -> None:
            if type(value) is not hint:
                raise TypeError(f"{name}: expected {hint.__name__}, not {type(value).__name__}")

        return check_exact
    if get_origin(hint) is tuple:
        return _tuple_checker(hint, name)
    raise TypeError(f"{name}: a field cannot hold {hint!r}")


def _int_checker(name: str, lowest: int) -> Callable[[object], None]:
    def check_int(value: object) -> None:
        if type(value) is not int:  # A bool is no int here, and neither is a member of an enum.
            raise TypeError(f"{name}: expected int, not {type(value).__name__}")
        if not lowest <= value <= INT_MAX:
            raise ValueError(f"{name}: {value} is not within {lowest}..{INT_MAX}")

    return check_int


def _seats_checker(hint: Any) -> Callable[[object], None]:
    if hint is not int:
        raise TypeError(f"{SEEN_BY} is an int of seat bits, not {hint!r}")
    return _int_checker(SEEN_BY, 0)


def _str_checker(name: str) -> Callable[[object], None]:
    def check_str(value: object) -> None:
        if type(value) is not str:
            raise TypeError(f"{name}: expected str, not {type(value).__name__}")
        if not value.isascii():
            value.encode()  # UnicodeEncodeError, a ValueError, for half of a surrogate pair.

    return check_str


def _tuple_checker(hint: Any, name: str) -> Callable[[object], None]:
    inner = get_args(hint)
    if len(inner) == 2 and inner[1] is Ellipsis:
        check_one = _checker(inner[0], name)

        def check_all(value: object) -> None:
            if type(value) is not tuple:
                raise TypeError(f"{name}: expected tuple, not {type(value).__name__}")
            for one in value:
                check_one(one)

        return check_all
    checks = tuple(_checker(one, name) for one in inner)

    def check_each(value: object) -> None:
        if type(value) is not tuple or len(value) != len(checks):
            raise TypeError(f"{name}: expected a tuple of {len(checks)}")
        for check, one in zip(checks, value, strict=True):
            check(one)

    return check_each


def _restorer(hint: Any) -> Callable[[Any], Any]:
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return hint
    if get_origin(hint) is not tuple:
        return _same
    inner = get_args(hint)
    if len(inner) == 2 and inner[1] is Ellipsis:
        restore_one = _restorer(inner[0])
        return lambda value: tuple(restore_one(one) for one in value)
    each = tuple(_restorer(one) for one in inner)
    return lambda value: tuple(restore(one) for restore, one in zip(each, value, strict=True))


def _same(value: Any) -> Any:
    return value


def key_checker(hint: Any, name: str) -> Callable[[object], None]:
    """Return what raises TypeError or ValueError for a key that a table cannot have."""
    if hint not in (int, str):
        raise TypeError(f"{name}: keys are int or str, not {hint!r}")
    return _checker(hint, name)


def name_of(hint: Any) -> str:
    """Return how a schema calls a field's type: ``int``, ``tuple[int, ...]``, an enum's members."""
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return "enum " + " ".join(f"{member.value}={member.name}" for member in hint)
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(name_of(one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        inner = ("..." if one is Ellipsis else name_of(one) for one in get_args(hint))
        return f"tuple[{', '.join(inner)}]"
    return getattr(hint, "__name__", str(hint))
