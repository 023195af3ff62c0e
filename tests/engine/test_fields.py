"""Tests of what a field may hold: exactly its type, within bounds, and nothing that can change."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import pytest

from gameserver.engine.fields import (
    INT_MAX,
    MISSING,
    Declared,
    Field,
    Visibility,
    key_checker,
    name_of,
    private,
    public,
    secret,
)


class Colour(IntEnum):
    """An enum for a field."""

    RED = 0
    BLUE = 1


class Text(str):
    """A str, but not exactly."""

    __slots__ = ()


def field_of(hint: Any, name: str = "field") -> Field:
    """Return a field of a type."""
    return Field(name, Declared(1, Visibility.PUBLIC, MISSING, child=False), hint)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 0),
        (int, INT_MAX),
        (int, -INT_MAX),
        (bool, True),
        (str, "Füße"),
        (bytes, b"\x00"),
        (Colour, Colour.BLUE),
        (tuple[int, ...], ()),
        (tuple[int, ...], (1, 2)),
        (tuple[int, str], (1, "a")),
        (tuple[tuple[Colour, bool], ...], ((Colour.RED, False),)),
    ],
)
def test_a_field_takes_its_type(hint: Any, value: Any) -> None:
    field_of(hint).check(value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, True),
        (int, 1.0),
        (int, "1"),
        (int, None),
        (int, Colour.RED),
        (int, [1]),
        (int, INT_MAX + 1),
        (int, -INT_MAX - 1),
        (bool, 1),
        (bool, None),
        (str, b"a"),
        (str, Text("a")),
        (str, "\ud800"),
        (bytes, "a"),
        (bytes, bytearray(b"a")),
        (Colour, 1),
        (Colour, True),
        (tuple[int, ...], [1]),
        (tuple[int, ...], (1, True)),
        (tuple[int, ...], (1, 0.5)),
        (tuple[int, ...], {1: 2}),
        (tuple[int, ...], (INT_MAX + 1,)),
        (tuple[int, str], (1,)),
        (tuple[int, str], (1, 2)),
        (tuple[int, str], (1, "a", 2)),
        (tuple[tuple[int, ...], ...], ((1,), [2])),
    ],
)
def test_a_field_refuses_everything_else(hint: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        field_of(hint).check(value)


@pytest.mark.parametrize(
    "hint", [float, list, list[int], dict, set, object, int | None, Any, tuple[float, ...], complex]
)
def test_a_field_of_another_type_cannot_be_declared(hint: Any) -> None:
    with pytest.raises(TypeError):
        field_of(hint)


@pytest.mark.parametrize("number", [0, 256, -1])
@pytest.mark.parametrize("declare", [public, private, secret])
def test_field_numbers_are_within_bounds(declare: Any, number: int) -> None:
    with pytest.raises(ValueError, match="field number"):
        declare(number)


def test_a_default_must_be_what_the_field_takes() -> None:
    defaults: tuple[Any, ...] = ([], 1.5, None, True)
    for default in defaults:
        with pytest.raises(TypeError):
            Field("field", public(1, default=default), int)


def test_seen_by_is_bits_and_so_never_negative() -> None:
    seen_by = field_of(int, "seen_by")
    seen_by.check(0)
    seen_by.check(2**53 - 1)
    for value in (-1, 2**53):
        with pytest.raises(ValueError, match="seen_by"):
            seen_by.check(value)
    with pytest.raises(TypeError):
        field_of(bool, "seen_by")


def test_what_messagepack_gives_back_is_restored_to_the_declared_type() -> None:
    restored = field_of(tuple[tuple[Colour, bool], ...]).restore([[1, True], [0, False]])
    assert restored == ((Colour.BLUE, True), (Colour.RED, False))
    assert type(restored[0][0]) is Colour
    assert field_of(tuple[int, str]).restore([1, "a"]) == (1, "a")
    with pytest.raises(ValueError, match="argument 2"):
        field_of(tuple[int, str]).restore([1])


def test_keys_are_ints_or_strings_and_never_both() -> None:
    check = key_checker(int, "table")
    check(3)
    for key in ("3", True, 3.0, None, Colour.RED, INT_MAX + 1):
        with pytest.raises((TypeError, ValueError)):
            check(key)
    with pytest.raises(TypeError):
        key_checker(bytes, "table")


def test_types_have_names_for_schemas() -> None:
    assert name_of(int) == "int"
    assert name_of(tuple[tuple[int, ...], str]) == "tuple[tuple[int, ...], str]"
    assert name_of(Colour) == "enum 0=RED 1=BLUE"
    assert name_of(int | str) == "int | str"
