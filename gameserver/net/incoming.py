"""What one client's bytes say: messages, and frames that are none.

Nearly all that clients send are commands and their like: a short binary frame, masked as a client
has to, whole and alone in what is read at once. `lone_message` reads it without an object or a
state, for less than a tenth of what the library needs. All other bytes go to an `Incoming`, frame
by frame: whole binary frames it reads itself; fragments, control frames and whatever breaks the
rules are the library's, which also answers. The library is given whole frames only, so that
between two of them nothing of a client has to be kept, neither an `Incoming` nor a library.

    .venv/bin/python -m scripts.bench.inbound
"""

import logging
from collections.abc import Iterator

from websockets.frames import Frame, Opcode
from websockets.frames import apply_mask as unmask  # type: ignore[attr-defined]  # In C if it can.
from websockets.protocol import State
from websockets.server import ServerProtocol

# A frame's first byte is its opcode, and whether its message ends with it; its second is its
# length, and whether it is masked. Lengths of 126 and 127 say that 2 or 8 bytes of length follow.
WHOLE_BINARY = 0x80 | Opcode.BINARY
WHOLE_PONG = 0x80 | Opcode.PONG
MASKED = 0x80
SHORT_MAX = 125
LONG_HEADS = {126: 4, 127: 10}
MASK_BYTES = 4
SHORT_HEAD_BYTES = 2 + MASK_BYTES
OPCODE_BITS = 0x0F
OPCODES = frozenset(map(int, Opcode))
REFUSED = -1

# The library would log every connection twice; counters say the same.
library_log = logging.getLogger("gameserver.websockets")
library_log.setLevel(logging.CRITICAL)


def lone_message(data: bytes) -> bytes | None:
    """Return the message if ``data`` is one short binary frame and nothing else, or None.

    No message may be limited to less than a short frame holds.
    """
    length = len(data) - SHORT_HEAD_BYTES
    if 0 <= length <= SHORT_MAX and data[0] == WHOLE_BINARY and data[1] == MASKED | length:
        return unmask(data[SHORT_HEAD_BYTES:], data[2:SHORT_HEAD_BYTES])
    return None


class Incoming:
    """Reads the frames of one client; kept while something is unfinished or the end has begun.

    ``bytes_max`` bounds a message, in one frame or in many.
    """

    __slots__ = ("_bytes_max", "_fragments", "_library", "_rest")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._rest = b""  # The beginning of one frame.
        self._fragments: bytearray | None = None
        self._library: ServerProtocol | None = None

    @property
    def is_between_frames(self) -> bool:
        """Whether a new one would go on just like this one."""
        is_open = self._library is None or self._library.state is State.OPEN
        return is_open and not self._rest and self._fragments is None

    @property
    def has_ended(self) -> bool:
        """Whether the client closed, or broke WebSocket's own rules: nothing more is read."""
        return self._library is not None and self._library.eof_sent

    @property
    def is_closed_by_client(self) -> bool:
        """Whether the client said that it sends nothing more."""
        return self._library is not None and self._library.close_rcvd is not None

    @property
    def close_code(self) -> int | None:
        """The code that was answered to a client that closed or broke the rules, if any was."""
        sent = None if self._library is None else self._library.close_sent
        return None if sent is None else int(sent.code)

    def frames(self, data: bytes) -> Iterator[bytes | Opcode]:
        """Yield every message that is whole now, and the opcode of every frame that ends none."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        while at < len(data) and not self.has_ended:
            end = _frame_end(data, at, self._bytes_max - len(self._fragments or b""))
            if end > len(data):
                self._rest = data[at:]
                return
            if end == REFUSED:
                end = len(data)
                yield self._by_library(data[at:])
            elif data[at] == WHOLE_BINARY and self._fragments is None:
                yield _unmasked(data, at, end)
            elif data[at] == WHOLE_PONG and data[at + 1] <= MASKED | SHORT_MAX:
                yield Opcode.PONG  # All clients answer our pings, and nothing is to be done then.
            else:
                yield self._by_library(data[at:end])
            at = end

    def close(self, code: int, reason: str) -> None:
        """Have a close frame among the answers."""
        self._started().send_close(code, reason)

    def take_answers(self) -> list[bytes]:
        """Return the library's frames for the client; an empty one is the end of all."""
        return [] if self._library is None else self._library.data_to_send()

    def _started(self) -> ServerProtocol:
        if self._library is None:
            self._library = ServerProtocol(
                state=State.OPEN, max_size=self._bytes_max, logger=library_log
            )
        return self._library

    def _by_library(self, frame: bytes) -> bytes | Opcode:
        library = self._started()
        library.receive_data(frame)
        for event in library.events_received():
            assert isinstance(event, Frame), "a library that began open gives frames"
            if event.opcode is Opcode.BINARY:
                self._fragments = bytearray(event.data)
            elif event.opcode is Opcode.CONT and self._fragments is not None:
                self._fragments += event.data
                if event.fin:
                    message, self._fragments = bytes(self._fragments), None
                    return message
            return event.opcode
        return Opcode.CLOSE  # It was refused; the answer closes.


def _frame_end(data: bytes, at: int, bytes_max: int) -> int:
    """Return where a frame ends, or will end, or REFUSED once the library would not have it."""
    left = len(data) - at
    if left < 2:
        return at + 2
    second = data[at + 1]
    if data[at] & OPCODE_BITS not in OPCODES or not second & MASKED:
        return REFUSED
    length = second ^ MASKED
    head_bytes = 2
    if length > SHORT_MAX:
        head_bytes = LONG_HEADS[length]
        if left < head_bytes:
            return at + head_bytes
        length = int.from_bytes(data[at + 2 : at + head_bytes], "big")
    if length > bytes_max:
        return REFUSED
    return at + head_bytes + MASK_BYTES + length


def _unmasked(data: bytes, at: int, end: int) -> bytes:
    mask_at = at + LONG_HEADS.get(data[at + 1] ^ MASKED, 2)
    payload_at = mask_at + MASK_BYTES
    return unmask(data[payload_at:end], data[mask_at:payload_at])
