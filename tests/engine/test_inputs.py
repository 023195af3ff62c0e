"""Tests of entries as bytes: canonical, readable, and refused with one error if they are none."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gameserver.engine.fields import INT_MAX
from gameserver.engine.inputs import BadEntry, Entry, entry_payload, packed, read_entry
from tests.engine.toy_state import Mood

SCALARS = (
    st.none() | st.booleans() | st.integers(-INT_MAX, INT_MAX) | st.text() | st.binary()
    | st.sampled_from(Mood)
)  # fmt: skip
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.lists(inner).map(tuple))


def _plain(value: Any) -> Any:
    """Return what MessagePack makes of a value: lists for tuples, ints for enums."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, IntEnum) else value


@settings(max_examples=200)
@given(VALUES)
def test_values_have_one_form_which_every_packer_gives(value: Any) -> None:
    assert packed(value) == msgpack.packb(value)
    assert msgpack.unpackb(packed(value)) == _plain(value)


@pytest.mark.parametrize("size", [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_long_values_have_the_same_form_too(size: int) -> None:
    for value in ("a" * size, b"a" * size, [0] * size):
        assert packed(value) == msgpack.packb(value)


@pytest.mark.parametrize("value", ["\ud800", 2**64, object()])
def test_a_value_that_cannot_be_packed_leaves_nothing_in_the_packer(value: object) -> None:
    with pytest.raises((UnicodeEncodeError, OverflowError, TypeError)):
        packed([1, value])
    assert packed([]) == b"\x90"


@given(st.integers(0, 2**40), st.lists(st.lists(VALUES, max_size=4), max_size=4))
def test_an_entry_is_read_as_it_was_written(tick: int, rows: list[list[Any]]) -> None:
    digest = bytes(range(32))
    payload = entry_payload(packed(tick), packed(rows), digest)
    assert payload == msgpack.packb([tick, rows, digest])
    assert read_entry(payload) == Entry(tick, _plain(rows), digest)


@settings(max_examples=500)
@given(st.binary(max_size=80))
def test_any_bytes_give_an_entry_or_are_refused(data: bytes) -> None:
    try:
        entry = read_entry(data)
    except BadEntry:
        return
    assert len(entry.digest) == 32


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        [],
        [1, []],
        [1, [], bytes(31)],
        [1, [], bytes(32), 0],
        ["1", [], bytes(32)],
        [1.5, [], bytes(32)],
        [1, [5], bytes(32)],
        [1, [], "x" * 32],
        {"tick": 1},
    ],
)
def test_messagepack_that_is_no_entry_is_refused(value: object) -> None:
    with pytest.raises(BadEntry):
        read_entry(msgpack.packb(value))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(BadEntry):
        read_entry(b"\x93\x01" + b"\x91" * 100_000 + b"\x90")
