"""Frames as the server builds them, read by the library that clients use."""

import os

import pytest
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side

from gameserver.runtime.viewers import SharedFrame, tick_frames
from protocol import codec
from protocol.frames import framed
from protocol.messages import Full


def read(data: bytes) -> list[bytes]:
    """Return the payloads of all frames in ``data``."""
    client = Protocol(Side.CLIENT, max_size=None)
    client.receive_data(data)
    frames = client.events_received()
    assert all(frame.opcode is Opcode.BINARY and frame.fin for frame in frames)  # type: ignore[union-attr]  # A client gets frames.
    return [bytes(frame.data) for frame in frames]  # type: ignore[union-attr]  # As above.


@pytest.mark.parametrize("length", [1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_payload_of_any_length_arrives_as_it_is(length: int) -> None:
    payload = os.urandom(length)
    assert read(framed(payload)) == [payload]


def test_a_large_payload_is_compressed_and_a_second_time_it_is_not() -> None:
    payload = codec.full(1, 2, codec.packed([1, 2, "x" * 10_000]), b"\x90")
    (zipped,) = read(framed(payload))
    assert len(zipped) < 200
    assert codec.decode_outbound(zipped) == Full(1, 2, [1, 2, "x" * 10_000], [])
    assert read(framed(zipped)) == [zipped]
    assert framed(payload) == framed(codec.zipped(payload))


def test_a_shared_frame_is_built_once() -> None:
    shared = SharedFrame(codec.delta_tail(3, 1, b"\x90"))
    assert tick_frames(0, None, shared) is tick_frames(0, None, shared)
    assert read(tick_frames(0, None, shared)) == [codec.delta(0, shared.tail)]


def test_a_room_that_has_another_handle_has_another_frame() -> None:
    shared = SharedFrame(codec.delta_tail(3, 1, b"\x90"))
    for handle in (0, 63, 128, 0):
        assert read(tick_frames(handle, None, shared)) == [codec.delta(handle, shared.tail)]


def test_the_private_frame_of_a_tick_goes_first() -> None:
    shared = SharedFrame(codec.delta_tail(3, 1, b"\x90"))
    tail = codec.private_tail(3, 1, b"\x90", [], True)
    delta, private = codec.delta(7, shared.tail), codec.private(7, tail)
    assert read(tick_frames(7, tail, shared)) == [private, delta]
    assert read(tick_frames(7, tail, None)) == [private]
    assert read(tick_frames(7, None, shared)) == [delta]
    assert tick_frames(7, None, None) == b""
