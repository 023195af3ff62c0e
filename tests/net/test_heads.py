"""Reading no more than the beginning of a packed message."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.net.heads import ZIP, head, tail
from protocol import codec
from protocol.messages import INT_MAX, Joined, LeftCode, ReplyCode

numbers = st.integers(0, INT_MAX)
types = st.integers(1, 127).filter(lambda kind: kind != ZIP)


@given(types, numbers, numbers)
def test_the_type_and_a_number_are_read(kind: int, first: int, second: int) -> None:
    message = codec.packed([kind, first, second, "more"])
    assert head(message) == (kind, first)
    assert tail(message) == codec.packed(second) + codec.packed("more")


@given(types, st.none() | st.text() | st.integers(-INT_MAX, -1), numbers)
def test_what_is_no_number_reads_as_0(kind: int, first: Any, second: int) -> None:
    assert head(codec.packed([kind, first, second])) == (kind, 0)


@given(numbers, numbers, st.integers(0, 100_000))
def test_what_was_zipped_is_told_from_its_beginning(room: int, tick: int, size: int) -> None:
    payload = codec.full(room, tick, codec.packed([1, 1, bytes(size)]), b"\x90")
    assert head(codec.zipped(payload)) == (5, room)
    assert tail(codec.zipped(payload)) == tail(payload)


@given(st.binary(max_size=40))
def test_any_bytes_have_a_head(payload: bytes) -> None:
    assert min(head(payload)) >= 0


@given(st.binary(max_size=40))
def test_any_bytes_after_the_head_of_a_zip_have_a_head(rest: bytes) -> None:
    assert min(head(b"\x93\x0f" + rest)) >= 0


def large_delta(handle: int, value: bytes) -> bytes:
    return codec.delta(handle, codec.delta_tail(4, 5, codec.packed([1, 2, value])))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (codec.reply_error(7, ReplyCode.NOT_FOUND), (3, 7)),
        (codec.joined(Joined(7, 2**50, "QXKFRT", "sum", 1, 1, 0, 0, "", 0)), (4, 7)),
        (codec.delta(5, codec.delta_tail(900_719, 4, b"\x90")), (6, 5)),
        (codec.private(130, codec.private_tail(4, 5, b"\x90", [], True)), (7, 130)),
        (codec.left(300, LeftCode.LEFT), (10, 300)),
        (codec.moved(300, "", ""), (18, 300)),
        (codec.redirect(5, 300, "ws://h/ws", "t"), (11, 5)),
        (codec.full(2**53 - 1, 70_000, b"\x90", b"\x90"), (5, 2**53 - 1)),
        (codec.zipped(large_delta(9, bytes(70_000))), (6, 9)),
        (large_delta(9, os.urandom(70_000)), (6, 9)),
    ],
)
def test_real_messages_are_told_apart(payload: bytes, expected: tuple[int, int]) -> None:
    assert head(payload) == expected
