"""Bytes to typed messages and back, and nothing about when a message is allowed.

    ValueError
      RemoteProtocolError     the peer broke the protocol; carries the close code it has earned

Inbound bytes give a message of the closed set or a ``RemoteProtocolError``, whatever they are.
Bodies stay raw: their nesting and their types are checked when their owner decodes them.

The server packs what it sends with the functions below. A change list is packed once for a whole
room, so what is made of it takes it packed. A Delta or Private is made in two steps: its tail is
the same for all viewers; its head has the handle, which each connection has for itself. The
packer is shared by the module and is not for use by threads.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import msgpack
import msgspec

from protocol.closes import CloseCode, close_name
from protocol.messages import (
    INBOUND_BYTES_MAX,
    NODES_MAX,
    TICK_MS,
    VERSION,
    AnyInbound,
    AnyOutbound,
    DeferralCode,
    Inbound,
    InvalidCode,
    Joined,
    LeftCode,
    ReplyCode,
    Zip,
)

ZIP_BYTES_MIN = 1024  # Less does not pay for the header and the work.
ZIP_LEVEL = 1  # A big room's full state has to fit in a slot; higher levels save little on it.
OUTBOUND_BYTES_MAX = 16 * 1024 * 1024  # A client refuses to unpack more than this.

LIST_NONE = b"\x90"
_ZIP_HEAD = b"\x93\x0f"
_DELTA_HEAD = b"\x95\x06"
_PRIVATE_HEAD = b"\x97\x07"
_DELTA_TAIL_HEAD = b"\x93"
_PRIVATE_TAIL_HEAD = b"\x95"

# What msgspec raises for bytes it cannot take. DecodeError covers ValidationError.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)

_inbound = msgspec.msgpack.Decoder(AnyInbound)
_outbound = msgspec.msgpack.Decoder(AnyOutbound)
_encoder = msgspec.msgpack.Encoder()
# A tick packs many frames, and one call of this packs a frame three times as fast as its parts.
_encode = _encoder.encode
_Raw = msgspec.Raw
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


class RemoteProtocolError(ValueError):
    """The peer broke the protocol; the connection is to be closed with ``close_code``."""

    def __init__(self, close_code: int, text: str) -> None:
        super().__init__(text)
        self.close_code = close_code
        self.text = text


def decode_inbound(payload: bytes) -> AnyInbound:
    """Return the message a client sent, or raise ``RemoteProtocolError``."""
    if len(payload) > INBOUND_BYTES_MAX:
        raise RemoteProtocolError(CloseCode.TOO_BIG, f"more than {INBOUND_BYTES_MAX} bytes")
    try:
        message: AnyInbound = _inbound.decode(payload)
    except _UNREADABLE as error:
        raise RemoteProtocolError(CloseCode.PROTOCOL_ERROR, str(error)) from error
    return message


def encode_inbound(message: Inbound) -> bytes:
    """Return the bytes a client sends for ``message``."""
    return _encoder.encode(message)


def decode_outbound(payload: bytes) -> AnyOutbound:
    """Return the message the server sent, unzipped, or raise ``RemoteProtocolError``."""
    try:
        message: AnyOutbound = _outbound.decode(payload)
        if type(message) is Zip:
            message = _outbound.decode(_unzipped(message))
    except (*_UNREADABLE, zlib.error) as error:
        raise RemoteProtocolError(CloseCode.PROTOCOL_ERROR, str(error)) from error
    if type(message) is Zip:
        raise RemoteProtocolError(CloseCode.PROTOCOL_ERROR, "a Zip in a Zip")
    return message


def _unzipped(message: Zip) -> bytes:
    if message.size > OUTBOUND_BYTES_MAX:
        raise RemoteProtocolError(CloseCode.TOO_BIG, f"a Zip of {message.size} bytes")
    unzip = zlib.decompressobj()
    payload = unzip.decompress(message.data, message.size + 1)  # One more shows a false size.
    if len(payload) != message.size or not unzip.eof or unzip.unused_data:
        raise RemoteProtocolError(CloseCode.PROTOCOL_ERROR, "a Zip that is not as long as it says")
    return payload


def packed(value: object) -> bytes:
    """Return plain data (numbers, text, bytes, None, lists, tuples, dicts) as MessagePack."""
    return _pack(value)


def welcome(account: int, name: str, token: str, server_time_ms: int) -> bytes:
    """Pack Welcome; the empty token means that the client keeps its own."""
    return _pack((1, VERSION, account, name, token, server_time_ms, TICK_MS))


def pong(echo: int, server_time_ms: int) -> bytes:
    """Pack ServerPong."""
    return _pack((2, echo, server_time_ms))


def reply_ok(request: int, body: object) -> bytes:
    """Pack Reply with a body of plain data, or of ``msgspec.Raw`` that is packed already."""
    if isinstance(body, msgspec.Raw):
        return b"".join((b"\x94\x03", _pack(request), b"\x00", body))
    return _pack((3, request, 0, body))


def reply_error(request: int, code: ReplyCode, detail: str = "", retry_ms: int = -1) -> bytes:
    """Pack Reply with an error; ``retry_ms`` -1 means that asking again is of no use."""
    return _pack((3, request, code, (code.name, detail, retry_ms)))


def joined(message: Joined) -> bytes:
    """Pack Joined."""
    return _encoder.encode(message)


def full(room: int, tick: int, public_changes: bytes, private_changes: bytes) -> bytes:
    """Put the head of Full before two packed change lists."""
    return b"".join((b"\x95\x05", _pack(room), _pack(tick), public_changes, private_changes))


def delta_tail(tick: int, step: int, changes: bytes) -> bytes:
    """Pack a Delta without its head: the tick, and a packed change list."""
    return _encode((tick, step, _Raw(changes)))[1:]


def private_tail(
    tick: int,
    step: int,
    changes: bytes,
    outcomes: Sequence[tuple[int, int, int, int, str, str]],
    more: bool,
) -> bytes:
    """Pack a Private without its head: the tick, a packed change list, and outcomes."""
    return _encode((tick, step, _Raw(changes), outcomes, more))[1:]


def delta(handle: int, tail: bytes) -> bytes:
    """Put the head of Delta before its tail."""
    return _DELTA_HEAD + _pack(handle) + tail


def private(handle: int, tail: bytes) -> bytes:
    """Put the head of Private before its tail."""
    return _PRIVATE_HEAD + _pack(handle) + tail


def opened_delta_tail(tail: bytes) -> tuple[int, int, list[Any]]:
    """Return tick, step and changes of what ``delta_tail`` packed."""
    tick, step, changes = msgpack.unpackb(_DELTA_TAIL_HEAD + tail)
    return tick, step, changes


def opened_private_tail(tail: bytes) -> tuple[int, int, list[Any], list[Any]]:
    """Return tick, step, changes and outcomes of what ``private_tail`` packed."""
    tick, step, changes, outcomes, _ = msgpack.unpackb(_PRIVATE_TAIL_HEAD + tail)
    return tick, step, changes, outcomes


def deferred(room: int, number: int, code: DeferralCode, retry_ms: int) -> bytes:
    """Pack Deferred."""
    return _pack((8, room, number, code, retry_ms))


def roster(room: int, sitters: Sequence[tuple[int, int, str]]) -> bytes:
    """Pack Roster: (seat, account, name) of everybody who has a seat."""
    return _pack((9, room, sitters))


def left(room: int, code: LeftCode) -> bytes:
    """Pack Left."""
    return _pack((10, room, code, code.name))


def redirect(request: int, room: int, url: str, ticket: str) -> bytes:
    """Pack Redirect."""
    return _pack((11, request, room, url, ticket))


def balance(balance_minor: int) -> bytes:
    """Pack Balance."""
    return _pack((12, balance_minor))


def goodbye(close_code: int, retry_ms: int = -1) -> bytes:
    """Pack Goodbye."""
    return _pack((13, close_code, close_name(close_code), retry_ms))


def ping(echo: int, server_time_ms: int) -> bytes:
    """Pack ServerPing."""
    return _pack((14, echo, server_time_ms))


def invalid(room: int, number: int, code: InvalidCode, field: str = "") -> bytes:
    """Pack Invalid; ``field`` names what is wrong in the body, when it is known."""
    return _pack((16, room, number, code, code.name, field))


def outcomes(room: int, told: Sequence[tuple[int, int, int, int, str, str]]) -> bytes:
    """Pack Outcomes: (number, tick, kind, code, name, field) each."""
    return _pack((17, room, told))


def moved(room: int, url: str, ticket: str) -> bytes:
    """Pack Moved; with no url the client asks for the room again where it is."""
    return _pack((18, room, url, ticket))


def nodes(urls: Sequence[str]) -> bytes:
    """Pack Nodes, the first ``NODES_MAX`` of them."""
    return _pack((19, urls[:NODES_MAX]))


def unzipped(payload: bytes) -> bytes:
    """Return the message inside a Zip, or ``payload`` itself if it is none. Trusts its sender."""
    if not payload.startswith(_ZIP_HEAD):
        return payload
    return zlib.decompress(msgpack.unpackb(payload)[2])


def zipped(payload: bytes) -> bytes:
    """Return ``payload`` as a Zip, or as it is when it is short or does not get smaller."""
    if len(payload) < ZIP_BYTES_MIN:
        return payload
    zip_payload = _pack((15, len(payload), zlib.compress(payload, ZIP_LEVEL)))
    return zip_payload if len(zip_payload) < len(payload) else payload
