"""The type and the first number of a packed message, without unpacking the rest.

Messages that are passed on as they are have to be told apart, and no more. What comes here was
packed by a node of ours: it is read with trust in its form, never with trust in its length.
"""

import zlib

from protocol import codec

ZIP = 15
# A type and a number of 9 bytes, below the head of an array.
HEAD_BYTES = 3 + 9

_WIDTHS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
# How many bytes say how long a value of bytes is.
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4}


def head(payload: bytes) -> tuple[int, int]:
    """Return the type and the first field; 0 for what is not there, or is no number.

    Of a message that was zipped, they are those of what is inside.
    """
    kind, first = _read(payload)
    return _read(_unzipped(payload)) if kind == ZIP else (kind, first)


def tail(payload: bytes) -> bytes:
    """Return what follows the first field of a message, unzipped."""
    whole = codec.unzipped(payload)
    return whole[_number(whole, 2)[1] :]


def _read(payload: bytes) -> tuple[int, int]:
    return (payload[1], _number(payload, 2)[0]) if len(payload) >= 2 else (0, 0)


def _number(payload: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and the next place; 0 and the end if it is none."""
    if at >= len(payload):
        return 0, at
    lead = payload[at]
    if lead < 0x80:
        return lead, at + 1
    width = _WIDTHS.get(lead)
    if width is None:
        return 0, len(payload)
    end = at + 1 + width
    return int.from_bytes(payload[at + 1 : end], "big"), end


def _unzipped(payload: bytes) -> bytes:
    """Return the beginning of what is in a Zip."""
    _, at = _number(payload, 2)
    width = _LENGTHS.get(payload[at]) if at < len(payload) else None
    if width is None:
        return b""
    try:
        return zlib.decompressobj().decompress(memoryview(payload)[at + 1 + width :], HEAD_BYTES)
    except zlib.error:
        return b""
