"""The type and the first two numbers of a packed message, without unpacking the rest.

Messages that are passed on as they are have to be told apart, and no more. What comes here was
packed by a node of ours: it is read with trust in its form, never with trust in its length.
"""

import zlib

ZIP = 15
# A type and two numbers of 9 bytes each, below the head of an array.
HEAD_BYTES = 3 + 2 * 9

_WIDTHS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
# How many bytes say how long a value of bytes is.
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4}


def head(payload: bytes) -> tuple[int, int, int]:
    """Return the type and the first two fields; 0 for what is not there, or is no number.

    Of a message that was zipped, they are those of what is inside.
    """
    kind, first, second = _read(payload)
    if kind == ZIP:
        return _read(_unzipped(payload))
    return kind, first, second


def _read(payload: bytes) -> tuple[int, int, int]:
    if len(payload) < 2:
        return 0, 0, 0
    first, at = _number(payload, 2)
    second, _ = _number(payload, at)
    return payload[1], first, second


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
