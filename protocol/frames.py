"""WebSocket framing of what the server sends: binary, unmasked, never fragmented.

A frame is built once, however many connections get it. Large payloads are compressed here, also
once. Reading frames is the library's work, and so are control frames.
"""

from protocol import codec

# An empty ping of WebSocket's own: any client's library answers it, whatever the client does.
PING_FRAME = b"\x89\x00"
# A control frame holds 125 bytes, two of which are the code.
CLOSE_REASON_BYTES_MAX = 123

_BINARY = 0x82  # The last frame of a message, with binary data.
_SHORT_HEADS = tuple(bytes((_BINARY, length)) for length in range(126))
_LENGTH_OF_2_BYTES = bytes((_BINARY, 126))
_LENGTH_OF_8_BYTES = bytes((_BINARY, 127))
_ZIP_TYPE = 15


def framed(payload: bytes) -> bytes:
    """Return ``payload`` as one frame, compressed if that pays."""
    if len(payload) >= codec.ZIP_BYTES_MIN and payload[1] != _ZIP_TYPE:
        payload = codec.zipped(payload)
    return headed(payload)


def headed(payload: bytes) -> bytes:
    """Return ``payload`` as one frame, as it is."""
    length = len(payload)
    if length < 126:
        return _SHORT_HEADS[length] + payload
    if length < 2**16:
        return _LENGTH_OF_2_BYTES + length.to_bytes(2, "big") + payload
    return _LENGTH_OF_8_BYTES + length.to_bytes(8, "big") + payload


def close_reason(text: str) -> str:
    """Return as much of ``text`` as fits in a close frame."""
    return text.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore")
