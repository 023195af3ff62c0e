"""One WebSocket of ours to another node, for one client of ours.

It knows frames, how to be let in, and how to stay. Which messages pass, and to whom, is for
`Relay`. Its memory is bounded on both sides: it reads nothing while its client is slow, so that
the other node sees a slow client and merges; and it ends when the other node does not read.
"""

import asyncio
import logging
from collections import deque
from typing import Protocol, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import Event, State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from gameserver.runtime.clock import Clock
from protocol import codec
from protocol.messages import SUBPROTOCOL, Goodbye, Hello, Inbound, Pong, ServerPing, Welcome

# The name of the program in Hello. Who says so is redirected and never relayed, so that nothing
# goes round in circles; a player who says so gains nothing by it.
RELAY = "gameserver relay"
OPEN_S = 1.0
# The other node does not read: a client of it would be flooding or its process frozen.
UNSENT_BYTES_MAX = 64 * 1024
NORMAL = 1000

_library_log = logging.getLogger("gameserver.websockets")


class Taker(Protocol):
    """Whoever the connection is for."""

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be read for now."""

    def take(self, payload: bytes) -> None:
        """Take a message."""

    def lost(self) -> None:
        """Learn that nothing comes any more."""


class Upstream(asyncio.Protocol):
    """A client's place at another node."""

    def __init__(self, url: str, clock: Clock, taker: Taker) -> None:
        self.url = url
        self.is_ended = False
        self.heard_ns = clock.now_ns()
        self._clock = clock
        self._taker = taker
        self._hello: Hello | None = None
        self._frames: ClientProtocol | None = None
        self._transport: asyncio.Transport | None = None
        self._settled = asyncio.Event()
        self._is_welcome = False
        # What was read and not taken yet; nothing more is read while there is any.
        self._events: deque[Event] = deque()

    @property
    def is_open(self) -> bool:
        """Whether the other node has let the client in and is still there."""
        return self._is_welcome and not self.is_ended

    async def open(self, ticket: str, name: str) -> None:
        """Connect, and be let in or ended within a second."""
        self._hello = Hello([1], ticket, name, RELAY)
        loop = asyncio.get_running_loop()
        try:
            uri = parse_uri(self.url)
            self._frames = ClientProtocol(
                uri,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                max_size=codec.OUTBOUND_BYTES_MAX,
                logger=_library_log,
            )
            async with asyncio.timeout(OPEN_S):
                tls = True if uri.secure else None
                await loop.create_connection(lambda: self, uri.host, uri.port, ssl=tls)
                await self._settled.wait()
        except (OSError, UnicodeError, InvalidURI):
            pass
        finally:
            if not self._is_welcome:
                self.end()

    async def settled(self) -> None:
        """Wait until somebody else's `open` is done."""
        await self._settled.wait()

    def send(self, message: Inbound) -> None:
        """Pass a message on."""
        if self.is_ended or self._frames is None or self._transport is None:
            return
        if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self.end()
            return
        self._frames.send_binary(codec.encode_inbound(message))
        self._flush()

    def resume(self) -> None:
        """Go on reading, if the client can take more."""
        if self._transport is None or self.is_ended:
            return
        self._work()
        if not self._events and not self._transport.is_closing():
            self._transport.resume_reading()

    def end(self) -> None:
        """Close."""
        if self.is_ended:
            return
        self.is_ended = True
        self._events.clear()
        transport = self._transport
        if transport is not None and self._frames is not None:
            if self._frames.state is State.OPEN:
                self._frames.send_close(NORMAL)
                self._flush()
            if transport.get_write_buffer_size():
                transport.abort()  # It is not read, and would stay for ever.
            else:
                transport.close()
        self._settled.set()
        self._taker.lost()

    # --- asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        # A socket's transport reads and writes; uvloop's says so by its methods alone.
        self._transport = cast(asyncio.Transport, transport)
        if self.is_ended:
            self._transport.abort()
            return
        assert self._frames is not None, "open made it"
        self._frames.send_request(self._frames.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take what was read."""
        if self.is_ended or self._frames is None:
            return
        self.heard_ns = self._clock.now_ns()
        self._frames.receive_data(data)
        self._events.extend(self._frames.events_received())
        self._flush()
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go."""
        self.end()

    def _work(self) -> None:
        assert self._frames is not None, "open made it"
        assert self._transport is not None, "what was read came by a transport"
        while self._events:
            if self._taker.is_full:
                self._transport.pause_reading()
                return
            self._take(self._events.popleft())
        if self._frames.state is not State.OPEN:
            self.end()  # It closed, or broke WebSocket's rules, or would not have us.

    def _take(self, event: Event) -> None:
        if isinstance(event, Response):
            if self._frames is not None and self._frames.handshake_exc is None and self._hello:
                self.send(self._hello)
            return
        assert isinstance(event, Frame), "a client reads a response and then frames"
        if event.opcode is Opcode.BINARY and event.fin:
            self._take_message(bytes(event.data))
        elif event.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT, Opcode.CLOSE):
            self.end()  # No node of ours sends text or fragments.

    def _take_message(self, payload: bytes) -> None:
        kind = payload[1] if len(payload) > 1 else 0
        if kind not in _OURS:
            self._taker.take(payload)
            return
        try:
            message = codec.decode_outbound(payload)
        except codec.RemoteProtocolError:
            self.end()
            return
        match message:
            case Welcome():
                self._is_welcome = True
                self._settled.set()
            case ServerPing():
                self.send(Pong(message.echo))
            case Goodbye():
                self.end()

    def _flush(self) -> None:
        assert self._frames is not None, "open made it"
        assert self._transport is not None, "what is sent goes by a transport"
        for data in self._frames.data_to_send():
            if data and not self._transport.is_closing():
                self._transport.write(data)


# By the number of their type: what is between the nodes alone.
_OURS = frozenset({1, 13, 14})
