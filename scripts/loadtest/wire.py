"""A lean WebSocket for a great many clients in one process: a transport for the client.

The server writes its frames by hand, with one head for all viewers of a room; this reads them by
hand too, so that the two are checked against each other and not against one library. It knows
RFC 6455 as far as a client of this protocol needs it: no extensions, binary messages, and the
control frames.
"""

import asyncio
import base64
import hashlib
import secrets
from collections import deque
from urllib.parse import urlsplit

from protocol.client import TransportClosed
from protocol.client.transport import ABNORMAL
from protocol.codec import OUTBOUND_BYTES_MAX
from protocol.messages import SUBPROTOCOL

ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HEAD_BYTES_MAX = 16 * 1024
CLOSE_TIMEOUT_S = 1.0

FINAL = 0x80
CONTINUED, BINARY, CLOSE, PING, PONG = 0x0, 0x2, 0x8, 0x9, 0xA
NORMAL, NO_STATUS, PROTOCOL_ERROR, TOO_BIG = 1000, 1005, 1002, 1009


class Wire(asyncio.Protocol):
    """One connection: frames in, messages out, and back."""

    def __init__(self, host: str, path: str) -> None:
        self._key = base64.b64encode(secrets.token_bytes(16))
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {self._key.decode()}\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
        ).encode()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._fragments: list[bytes] | None = None
        # Filled by what the server sends in one read; whoever receives empties it before the next.
        self._messages: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._closed: TransportClosed | None = None

    # --- For the client: see protocol.client.transport.Transport.

    async def send(self, payload: bytes) -> None:
        """Send one binary message; wait while the server is slow."""
        if self._closed is not None:
            raise self._closed
        self._write(BINARY, payload)
        if not self._may_write.is_set():
            await self._may_write.wait()  # The client sets the deadline.

    async def recv(self) -> bytes:
        """Return the next message; what came before the end is still handed out."""
        while not self._messages:
            if self._closed is not None:
                raise self._closed
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter  # The client notices silence by itself.
            finally:
                self._waiter = None
        return self._messages.popleft()

    async def close(self) -> None:
        """Close with 1000, or drop the connection if the server does not answer."""
        if self._closed is None:
            self._write(CLOSE, NORMAL.to_bytes(2, "big"))
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.shield(self._gone)
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    # --- For asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        # uvloop's transports are no subclasses of asyncio's; they have the methods.
        self._transport = transport  # type: ignore[assignment]
        assert self._transport is not None, "a connection has a transport"
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take in what came, and wake whoever waits for it."""
        if self._buffer:
            data = self._buffer + data
        if not self.opened.done():
            rest = self._read_answer(data)
            if rest is None:
                return
            data = rest
        self._buffer = self._read_frames(data)
        self._wake()

    def pause_writing(self) -> None:
        """Let senders wait."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits that nothing more comes."""
        if self._closed is None:
            self._closed = TransportClosed(ABNORMAL, "" if exc is None else str(exc))
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("closed before the upgrade"))
            self.opened.exception()
        if not self._gone.done():
            self._gone.set_result(None)
        self._may_write.set()
        self._wake()

    # --- The upgrade.

    def _read_answer(self, data: bytes) -> bytes | None:
        """Return what follows the head of the answer, or None while it is not whole."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self._buffer = data
            if len(data) > HEAD_BYTES_MAX:
                self._refuse("a head without an end")
            return None
        self._buffer = b""
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        digest = hashlib.sha1(self._key + ACCEPT_SALT).digest()
        if status.split(" ")[1:2] != ["101"]:
            self._refuse(status)
        elif headers.get("sec-websocket-accept") != base64.b64encode(digest).decode():
            self._refuse("a wrong Sec-WebSocket-Accept")
        elif headers.get("sec-websocket-protocol") != SUBPROTOCOL:
            self._refuse(f"the server does not speak {SUBPROTOCOL}")
        else:
            self.opened.set_result(None)
            return rest
        return None

    def _refuse(self, text: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(text))
            self.opened.exception()  # Whoever dialled may have given up.
        self.abort()

    # --- Frames.

    def _read_frames(self, data: bytes) -> bytes:
        """Take whole frames from the front of ``data`` and return the rest."""
        at, end = 0, len(data)
        while end - at >= 2 and self._closed is None:
            first, length = data[at], data[at + 1]
            head = at + 2
            if length > 125:
                wide = {126: 2, 127: 8}.get(length)
                if wide is None:  # A server never masks.
                    self._end(PROTOCOL_ERROR, "a masked frame")
                    break
                head += wide
                if end < head:
                    break
                length = int.from_bytes(data[at + 2 : head], "big")
                if length > OUTBOUND_BYTES_MAX:
                    self._end(TOO_BIG, f"a frame of {length} bytes")
                    break
            if end < head + length:
                break
            payload = data[head : head + length]
            at = head + length
            if first == FINAL | BINARY and self._fragments is None:
                self._messages.append(payload)
            else:
                self._take_frame(first, payload)
        return data[at:]

    def _take_frame(self, first: int, payload: bytes) -> None:
        opcode, final = first & 0x0F, first & FINAL
        if first & 0x70 or (opcode >= CLOSE and (not final or len(payload) > 125)):
            self._end(PROTOCOL_ERROR, f"a frame that begins with {first:#x}")
        elif opcode == PING:
            self._write(PONG, payload)
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_STATUS
            self._end(code, payload[2:].decode(errors="replace"), answer=payload[:2])
        elif opcode == BINARY and self._fragments is None:
            self._fragments = [payload]  # The first part: a whole message does not come here.
        elif opcode == CONTINUED and self._fragments is not None:
            self._fragments.append(payload)
            if final:
                self._messages.append(b"".join(self._fragments))
                self._fragments = None
        elif opcode != PONG:
            self._end(PROTOCOL_ERROR, f"a frame of kind {opcode} where none belongs")

    def _end(self, code: int, reason: str, *, answer: bytes | None = None) -> None:
        """Take nothing more; the server closes the connection once it has our answer."""
        self._write(CLOSE, code.to_bytes(2, "big") if answer is None else answer)
        self._closed = TransportClosed(code, reason)
        if answer is None:
            self.abort()

    def _write(self, opcode: int, payload: bytes) -> None:
        assert self._transport is not None, "nothing is written before there is a connection"
        length = len(payload)
        head = bytes((FINAL | opcode, 0x80 | min(126, length)))
        if length >= 126:
            head += length.to_bytes(2, "big")  # A client sends 4 KiB at most.
        key = secrets.token_bytes(4)
        pad = (key * (length // 4 + 1))[:length]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
        self._transport.write(head + key + masked.to_bytes(length, "big"))

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


async def dial_lean(url: str) -> Wire:
    """Open a connection to ``url``; raises OSError. The caller sets the deadline."""
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    loop = asyncio.get_running_loop()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    _, wire = await loop.create_connection(
        lambda: Wire(parts.netloc, path), host, port, ssl=secure or None
    )
    try:
        await wire.opened
    except BaseException:
        wire.abort()
        raise
    return wire
