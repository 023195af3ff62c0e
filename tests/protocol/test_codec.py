"""Any bytes give a message or a RemoteProtocolError; every message survives the wire."""

import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any, get_args

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec, messages
from protocol.closes import CloseCode
from protocol.codec import RemoteProtocolError, decode_inbound, decode_outbound, encode_inbound
from protocol.messages import AnyInbound, AnyOutbound
from tests.protocol import samples

pack = msgpack.packb


def close_code(decode: Callable[[bytes], object], payload: bytes) -> int:
    """Return the close code that ``payload`` earns; 0 when it is a message."""
    try:
        message = decode(payload)
    except RemoteProtocolError as error:
        return error.close_code
    assert isinstance(message, (*get_args(AnyInbound), *get_args(AnyOutbound)))
    return 0


@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_a_protocol_error(payload: bytes) -> None:
    assert close_code(decode_inbound, payload) in (0, CloseCode.PROTOCOL_ERROR)
    assert close_code(decode_outbound, payload) in (0, CloseCode.PROTOCOL_ERROR, CloseCode.TOO_BIG)


@given(samples.inbound, st.data())
def test_a_damaged_message_is_a_message_or_a_protocol_error(
    message: AnyInbound, data: st.DataObject
) -> None:
    payload = bytearray(encode_inbound(message))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del payload[at:]
    damaged = bytes(payload)
    assert close_code(decode_inbound, damaged) in (0, CloseCode.PROTOCOL_ERROR)
    assert close_code(decode_outbound, damaged) in (0, CloseCode.PROTOCOL_ERROR, CloseCode.TOO_BIG)


@given(samples.inbound)
def test_every_inbound_message_survives_the_wire(message: AnyInbound) -> None:
    back = decode_inbound(encode_inbound(message))
    assert type(back) is type(message)
    assert samples.plain_of(back) == samples.plain_of(message)


@given(samples.outbound)
def test_every_outbound_message_survives_the_wire(message: AnyOutbound) -> None:
    back = decode_outbound(msgspec.msgpack.encode(message))
    assert type(back) is type(message)
    assert samples.plain_of(back) == samples.plain_of(message)


def test_there_is_a_sample_of_every_message() -> None:
    assert {type(one) for one in samples.ONE_OF_EACH_INBOUND} == set(get_args(AnyInbound))
    assert {type(one) for one in samples.ONE_OF_EACH_OUTBOUND} == set(get_args(AnyOutbound))


CHANGES = [5, 0, [1, 3, "ann"], 5, 1, 2**40, 5, 2, b"\x00\xff", 5, 3, [1, 2]]
OUTCOMES = [(1, 12, 0, 0, "", ""), (2, 12, 1, 4, "TOO_LATE", "spots")]

PACKED: list[tuple[bytes, AnyOutbound]] = [
    (codec.welcome(9, "ann", "t", 77), messages.Welcome(1, 9, "ann", "t", 77, 50)),
    (codec.pong(-3, 77), messages.ServerPong(-3, 77)),
    (codec.reply_ok(4, [1, "x"]), messages.Reply(4, 0, msgspec.Raw(pack([1, "x"])))),
    (
        codec.reply_ok(2**31, msgspec.Raw(pack({"a": 1}))),
        messages.Reply(2**31, 0, msgspec.Raw(pack({"a": 1}))),
    ),
    (
        codec.reply_error(4, messages.ReplyCode.BUSY, "later", 250),
        messages.Reply(4, 15, msgspec.Raw(pack(["BUSY", "later", 250]))),
    ),
    (
        codec.joined(messages.Joined(1, 2**50, "ABCDEF", "keno", 1, -1, 7, 1, "", 0)),
        messages.Joined(1, 2**50, "ABCDEF", "keno", 1, -1, 7, 1, "", 0),
    ),
    (codec.full(2**50, 10, pack(CHANGES), pack([])), messages.Full(2**50, 10, CHANGES, [])),
    (
        codec.delta(63, codec.delta_tail(70000, 1, pack(CHANGES))),
        messages.Delta(63, 70000, 1, CHANGES),
    ),
    (
        codec.private(0, codec.private_tail(200, 199, codec.LIST_NONE, OUTCOMES, True)),
        messages.Private(0, 200, 199, [], [messages.Outcome(*one) for one in OUTCOMES], True),
    ),
    (
        codec.private(128, codec.private_tail(200, 1, pack(CHANGES), [], False)),
        messages.Private(128, 200, 1, CHANGES, [], False),
    ),
    (
        codec.deferred(5, 3, messages.DeferralCode.RATE_LIMITED, 100),
        messages.Deferred(5, 3, 3, 100),
    ),
    (
        codec.roster(5, [(0, 9, "ann"), (3, 8, "bob")]),
        messages.Roster(5, [messages.Sitter(0, 9, "ann"), messages.Sitter(3, 8, "bob")]),
    ),
    (codec.left(5, messages.LeftCode.ENDED), messages.Left(5, 3, "ENDED")),
    (codec.redirect(5, 6, "ws://x/ws", "t"), messages.Redirect(5, 6, "ws://x/ws", "t")),
    (codec.balance(-5), messages.Balance(-5)),
    (codec.goodbye(4000, 250), messages.Goodbye(4000, "GOING_AWAY", 250)),
    (codec.goodbye(4999), messages.Goodbye(4999, "", -1)),
    (codec.ping(6, 77), messages.ServerPing(6, 77)),
    (
        codec.invalid(5, 6, messages.InvalidCode.MALFORMED, "spots"),
        messages.Invalid(5, 6, 3, "MALFORMED", "spots"),
    ),
    (
        codec.outcomes(5, [(1, 12, 0, 0, "", "")]),
        messages.Outcomes(5, [messages.Outcome(1, 12, 0, 0, "", "")]),
    ),
    (codec.moved(2**50, "ws://x/ws", "t"), messages.Moved(2**50, "ws://x/ws", "t")),
    (codec.nodes(("ws://x/ws", "ws://y/ws")), messages.Nodes(["ws://x/ws", "ws://y/ws"])),
    (codec.nodes([]), messages.Nodes([])),
]


@pytest.mark.parametrize(("payload", "message"), PACKED, ids=lambda one: type(one).__name__)
def test_what_the_server_packs_is_what_the_client_reads(
    payload: bytes, message: AnyOutbound
) -> None:
    assert payload == msgspec.msgpack.encode(message)
    assert samples.plain_of(decode_outbound(payload)) == samples.plain_of(message)


def test_every_message_of_the_server_has_a_packer() -> None:
    packers = {type(message) for _, message in PACKED} | {messages.Zip}
    assert packers == set(get_args(AnyOutbound))


def test_of_many_nodes_the_first_are_named() -> None:
    urls = [f"ws://{number}/ws" for number in range(100)]
    assert decode_outbound(codec.nodes(urls)) == messages.Nodes(urls[: messages.NODES_MAX])


def test_a_value_that_cannot_be_packed_leaves_nothing_behind_for_the_next() -> None:
    with pytest.raises(TypeError):
        codec.packed([1, 2, object()])
    assert codec.packed([3]) == pack([3])


def test_a_large_payload_is_zipped_and_read_back() -> None:
    changes = [item for record in range(400) for item in (record + 3, 1, 0)]
    payload = codec.full(5, 10, pack(changes), codec.LIST_NONE)
    zipped = codec.zipped(payload)
    assert len(zipped) < len(payload) / 2
    assert decode_outbound(zipped) == messages.Full(5, 10, changes, [])


def test_a_payload_that_does_not_get_smaller_is_left_as_it_is() -> None:
    noise = b"".join(zlib.crc32(bytes([i % 256, i // 256])).to_bytes(4, "big") for i in range(500))
    payload = codec.reply_ok(1, noise)
    assert len(payload) >= codec.ZIP_BYTES_MIN
    assert codec.zipped(payload) is payload
    assert codec.zipped(codec.balance(1)) == codec.balance(1)


ZIPPED = zlib.compress(codec.balance(1))
BOMB = zlib.compress(bytes(20_000_000), 9)


@pytest.mark.parametrize(
    "payload",
    [
        pack([15, len(codec.balance(1)) + 1, ZIPPED]),
        pack([15, len(codec.balance(1)) - 1, ZIPPED]),
        pack([15, len(codec.balance(1)), ZIPPED[:-3]]),
        pack([15, len(codec.balance(1)), ZIPPED + b"x"]),
        pack([15, 10, b"not zlib"]),
        pack([15, 20_000_000, BOMB]),
        pack([15, 100, BOMB]),
        pack([15, -1, ZIPPED]),
        pack([15, len(pack([15, 0, b""])), zlib.compress(pack([15, 0, b""]))]),
    ],
)
def test_a_false_zip_is_a_protocol_error_and_costs_no_memory(payload: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(RemoteProtocolError):
        decode_outbound(payload)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 200_000


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "one byte that means nothing": b"\xc1",
    "no array": pack(7),
    "a map": pack({0: 9}),
    "text": b"hello",
    "an empty array": pack([]),
    "a tag alone where fields belong": pack([7]),
    "an unknown tag": pack([99]),
    "a negative tag": pack([-1]),
    "a tag that is a bool": pack([True, [1], "", "", ""]),
    "a tag that is a float": pack([2.0, 1]),
    "a tag that is text": pack(["2", 1]),
    "a tag beyond 64 bits": b"\x92\xcf" + b"\xff" * 8 + b"\x01",
    "an outbound tag": pack([12, 1]),
    "a field too few": pack([6, 1]),
    "a field too many": pack([6, 1, 2, 3]),
    "trailing bytes": pack([2, 1]) + b"\x00",
    "two messages": pack([2, 1]) + pack([2, 1]),
    "cut off": pack([2, 2**40])[:-1],
    "an array said to be huge": b"\xdd\xff\xff\xff\xff\x02",
    "a map said to be huge": b"\x94\x07\x01\x01\xdf\xff\xff\xff\xff",
    "bytes said to be huge": b"\x94\x07\x01\x01\xc6\xff\xff\xff\xff",
    "text said to be huge": b"\x94\x03\x01\xdb\xff\xff\xff\xff\xc0",
    "versions said to be huge": b"\x95\x01\xdd\x7f\xff\xff\xff\x01",
    "too many versions": pack([1, [1] * 9, "", "ann", ""]),
    "no versions": pack([1, [], "", "ann", ""]),
    "a token too long": pack([1, [1], "x" * 2049, "ann", ""]),
    "a name too long": pack([1, [1], "", "x" * 33, ""]),
    "a method too long": pack([3, 1, "x" * 33, []]),
    "a code too long": pack([4, 1, 1, "x" * 65, False]),
    "an empty code": pack([4, 1, 1, "", False]),
    "a code where an id belongs": pack([4, 1, 2, "ABCDEF", False]),
    "an id where a code belongs": pack([4, 1, 1, 7, False]),
    "an unknown way to join": pack([4, 1, 4, "x", False]),
    "an int for a bool": pack([4, 1, 1, "ABCDEF", 0]),
    "a bool for an int": pack([2, True]),
    "a float for an int": pack([2, 1.0]),
    "not a number": pack([2, float("nan")]),
    "infinity": pack([2, float("inf")]),
    "nil for an int": pack([2, None]),
    "text for an int": pack([2, "1"]),
    "bytes for text": pack([3, 1, b"list", []]),
    "an int beyond 53 bits": pack([2, 2**53]),
    "an int beyond 63 bits": pack([2, 2**64 - 1]),
    "a negative room": pack([8, -1]),
    "room 0": pack([8, 0]),
    "command number 0": pack([7, 1, 0, []]),
    "a negative request": pack([6, -1, 1]),
    "a request too large": pack([6, 2**31 + 1, 1]),
    "a negative closed tick": pack([5, 1, 1, -1, False]),
    "text that is not UTF-8": b"\x94\x03\x01\xa2\xff\xfe\x90",
    "a surrogate in UTF-8": b"\x94\x03\x01\xa3\xed\xa0\x80\x90",
    "an extension": pack([2, msgpack.ExtType(5, b"abc")]),
    "a timestamp": b"\x92\x02\xd6\xff\x00\x00\x00\x01",
    "nesting where a number belongs": b"\x92\x02" + nested(2000),
    "an empty body": b"\x94\x07\x01\x01",
    "a body that means nothing": b"\x94\x07\x01\x01\xc1",
    "more than 4 KiB": pack([7, 1, 1, b"x" * 4096]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_a_protocol_error_and_cost_no_memory(name: str) -> None:
    tracemalloc.start()
    with pytest.raises(RemoteProtocolError) as caught:
        decode_inbound(HOSTILE[name])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    too_big = len(HOSTILE[name]) > messages.INBOUND_BYTES_MAX
    assert caught.value.close_code == (CloseCode.TOO_BIG if too_big else CloseCode.PROTOCOL_ERROR)
    assert peak_bytes < 200_000


@pytest.mark.parametrize("body", [nested(4000), b"\x81\x01" * 2000 + b"\xc0"])
def test_a_deeply_nested_body_is_refused_or_left_raw(body: bytes) -> None:
    # How deep msgspec goes depends on the interpreter; what matters is that it comes back.
    payload = b"\x94\x07\x01\x01" + body
    assert close_code(decode_inbound, payload) in (0, CloseCode.PROTOCOL_ERROR)


def test_a_message_of_exactly_4_kib_is_taken() -> None:
    room = pack([7, 1, 1, b"x" * (4096 - 7)])
    assert len(room) == 4096
    assert type(decode_inbound(room)) is messages.Command


def test_a_later_server_may_append_fields() -> None:
    assert decode_outbound(pack([12, 5, "new"])) == messages.Balance(5)


@pytest.mark.parametrize(
    "body", [None, 5, [1, [2, {"a": b"x"}]], msgpack.ExtType(5, b"abc"), float("nan")]
)
def test_a_body_is_handed_on_as_the_bytes_that_came(body: Any) -> None:
    command = decode_inbound(pack([7, 5, 1, body]))
    assert isinstance(command, messages.Command)
    assert bytes(command.body) == pack(body)


@pytest.mark.parametrize(
    ("enum", "last"),
    [(messages.ReplyCode, 15), (messages.LeftCode, 5), (messages.InvalidCode, 4)],
)
def test_codes_have_no_holes(enum: Callable[[int], object], last: int) -> None:
    for code in range(1, last + 1):
        assert enum(code) == code
