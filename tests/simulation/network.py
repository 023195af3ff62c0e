"""The network in memory: links of two byte streams, and what can go wrong with them.

A link looks to a server like a socket's transport and to a client like the transport that
`protocol.client` takes; both speak real WebSocket over it. Bytes of a link stay in order, take
their time, may be cut anywhere into pieces, and may stop for a while or for good.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from protocol.client.errors import TransportClosed
from protocol.client.transport import ABNORMAL
from protocol.messages import SUBPROTOCOL
from tests.simulation.loop import Process, SimLoop

WINDOW_BYTES = 128  # What a system's buffers take before a transport's own begins to fill.
REFUSED_AFTER_S = 0.02
DIAL_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 0.5


ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class Reader(Protocol):
    """One end of a link, as the way to it sees it."""

    def take(self, data: bytes) -> None:
        """Take bytes that arrived."""

    def end(self, *, reset: bool) -> None:
        """Learn that nothing more comes."""


class Way:
    """One direction of a link. It delivers in the context of the process that reads."""

    def __init__(self, network: Network, reader: Process) -> None:
        self._network = network
        self._reader_process = reader
        self._pieces: deque[tuple[float, bytes | None]] = deque()
        self._free_at_s = 0.0
        self._is_planned = False
        self.latency_s = network.latency_s
        self.unread_bytes = 0
        self.reader: Reader | None = None
        self.is_held = False  # Nothing is delivered for now: a clogged way, or a slow reader.
        self.is_dead = False  # Nothing is delivered any more, and nobody is told.
        self.on_drained: Callable[[], None] | None = None

    def send(self, data: bytes) -> None:
        """Put bytes on their way."""
        chance = self._network.chance
        self.unread_bytes += len(data)
        while len(data) > 1 and chance.random() < self._network.split_rate:
            cut = chance.randrange(1, len(data))
            self._put(data[:cut])
            data = data[cut:]
        self._put(data)

    def finish(self) -> None:
        """Let the reader know, after all that was sent, that nothing more comes."""
        self._put(None)

    def release(self) -> None:
        """Go on after a hold."""
        self.is_held = False
        self._plan()

    def _put(self, piece: bytes | None) -> None:
        delay_s = self.latency_s * (0.5 + self._network.chance.random())
        now_s = self._network.loop.time()
        self._free_at_s = max(self._free_at_s, now_s + delay_s)
        self._pieces.append((self._free_at_s, piece))
        self._plan()

    def _plan(self) -> None:
        if self._is_planned or self.is_held or self.is_dead or not self._pieces:
            return
        self._is_planned = True
        at_s = max(self._pieces[0][0], self._network.loop.time())
        self._network.loop.call_at(at_s, self._deliver, context=self._reader_process.context)

    def _deliver(self) -> None:
        self._is_planned = False
        now_s = self._network.loop.time() + 1e-9
        while self._pieces and self._pieces[0][0] <= now_s and not (self.is_held or self.is_dead):
            _, piece = self._pieces.popleft()
            assert self.reader is not None, "A way leads to somebody."
            if piece is None:
                self.reader.end(reset=False)
            else:
                self.unread_bytes -= len(piece)
                self.reader.take(piece)
                if self.on_drained is not None:
                    self.on_drained()
        self._plan()


@dataclass(eq=False)
class Link:
    """One connection between a client's process and a server's."""

    number: int
    client: Process
    server: Process
    up: Way
    down: Way
    tag: Any = None  # Whoever observes may keep notes here.
    is_over: bool = False

    def reset(self) -> None:
        """Break the connection; both ends learn of it."""
        if self.is_over:
            return
        self.is_over = True
        for way in (self.up, self.down):
            way.is_dead = True
            reader = way.reader
            if reader is not None:
                process = self.server if way is self.up else self.client
                loop: Any = asyncio.get_running_loop()
                loop.call_soon(_end_by_reset, reader, context=process.context)

    def go_silent(self) -> None:
        """Lose everything from now on, and tell nobody: a half-open connection."""
        self.up.is_dead = self.down.is_dead = True

    def hold(self) -> None:
        """Deliver nothing for a while, either way."""
        self.up.is_held = self.down.is_held = True

    def release(self) -> None:
        """Go on."""
        self.up.release()
        self.down.release()


def _end_by_reset(reader: Reader) -> None:
    reader.end(reset=True)


class Network:
    """All links. ``on_sent`` sees what servers write, as they write it."""

    def __init__(self, loop: SimLoop, chance: Random) -> None:
        self.loop = loop
        self.chance = chance
        self.latency_s = self.usual_latency_s = 0.002
        self.split_rate = 0.0
        self.links: dict[Link, None] = {}
        self.links_made = 0
        self.on_sent: Callable[[Link, bytes], None] = lambda link, data: None
        # Those who reach nobody and whom nobody reaches, by name.
        self.cut_off: set[str] = set()

    def heal(self) -> None:
        """Let nothing be held, cut off or late any more."""
        self.cut_off.clear()
        self.latency_s = self.usual_latency_s
        for link in tuple(self.links):
            link.up.latency_s = link.down.latency_s = self.latency_s
            link.release()

    async def dial(self, client: Process, address: str) -> ClientEnd:
        """Connect; raises OSError."""
        link, factory = await self.link(client, address)
        server_end = ServerEnd(self, link)
        client_end = ClientEnd(self, link)
        link.up.reader, link.down.reader = server_end, client_end
        link.server.context.run(self.loop.call_soon, server_end.open, factory)
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            await client_end.open()
        return client_end

    async def link(self, client: Process, address: str) -> tuple[Link, ProtocolFactory]:
        """Return a new link to who listens there, and who serves it; raises OSError."""
        listening = self.loop.listening.get(address)
        await asyncio.sleep(self.latency_s)
        if listening is None or listening.process.is_dead:
            await asyncio.sleep(REFUSED_AFTER_S)
            raise ConnectionRefusedError(f"nobody listens at {address}")
        factory, server = listening
        if self.cut_off & {client.name, server.name}:
            await asyncio.sleep(DIAL_TIMEOUT_S)
            raise TimeoutError(f"no answer from {address}")
        self.links_made += 1
        link = Link(self.links_made, client, server, Way(self, server), Way(self, client))
        self.links[link] = None
        return link, factory

    def of(self, process: Process) -> list[Link]:
        """Return the links that a process has, at either end."""
        return [link for link in self.links if process in (link.client, link.server)]

    def over(self, link: Link) -> None:
        """Forget a link."""
        link.is_over = True
        self.links.pop(link, None)


class ServerEnd(asyncio.Transport):
    """The server's end: a transport as sockets have it."""

    def __init__(self, network: Network, link: Link) -> None:
        super().__init__()
        self._network = network
        self._link = link
        self._protocol: Any = None
        self._high, self._low = 64 * 1024, 16 * 1024
        self._is_closing = False
        self._is_full = False
        self._is_lost = False
        self._is_aborted = False
        self._is_paused = False
        self._unread = b""  # What came while nothing was read.
        link.down.on_drained = self._on_drained

    def open(self, factory: ProtocolFactory) -> None:
        """Meet the protocol that serves this link."""
        self._protocol = factory()
        self._protocol.connection_made(self)

    # --- What the way to here tells.

    def take(self, data: bytes) -> None:
        """Hand bytes to the protocol, as the event loop would."""
        if self._is_lost or self._is_aborted or self._protocol is None:
            return
        if self._is_paused or self._unread:
            self._unread += data
        else:
            self._protocol.data_received(data)

    def end(self, *, reset: bool) -> None:
        """The client closed, or the network broke."""
        if self._is_lost or self._protocol is None:
            return
        if not reset:
            self._protocol.eof_received()
        self._lose(ConnectionResetError("reset") if reset else None)

    def _lose(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = self._is_closing = True
            self._link.down.finish()
            self._network.over(self._link)
            self._protocol.connection_lost(error)

    def _on_drained(self) -> None:
        if self._is_full and self.get_write_buffer_size() <= self._low:
            self._is_full = False
            context = self._link.server.context
            self._network.loop.call_soon(self._resume_writing, context=context)

    def _resume_writing(self) -> None:
        if not self._is_lost:
            self._protocol.resume_writing()

    def _read_on(self) -> None:
        if self._unread and not self._is_paused:
            unread, self._unread = self._unread, b""
            self.take(unread)

    # --- What the protocol asks.

    def pause_reading(self) -> None:
        """Let what comes wait."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Read again, also what waits."""
        self._is_paused = False
        self._network.loop.call_soon(self._read_on)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        if self._is_closing:
            return
        sent = bytes(data)
        self._network.on_sent(self._link, sent)
        self._link.down.send(sent)
        if not self._is_full and self.get_write_buffer_size() > self._high:
            self._is_full = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        """Return what waits beyond the system's buffers."""
        return max(0, self._link.down.unread_bytes - WINDOW_BYTES)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the protocol is told to wait and to go on."""
        self._high = self._high if high is None else high
        self._low = self._high // 4 if low is None else low

    def can_write_eof(self) -> bool:
        """A socket can."""
        return True

    def write_eof(self) -> None:
        """Send no more; what comes is still read."""
        if not self._is_closing:
            self._is_closing = True
            self._link.down.finish()

    def close(self) -> None:
        """Send what waits, and close."""
        self._is_closing = True
        self._network.loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Close at once."""
        self._is_closing = self._is_aborted = True
        self._network.loop.call_soon(self._abort)

    def _abort(self) -> None:
        self._lose(None)
        self._link.reset()

    def is_closing(self) -> bool:
        """Tell whether nothing more is sent."""
        return self._is_closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let somebody else have the bytes from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who has the bytes."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Say where the client is."""
        return ("10.0.0.1", self._link.number) if name == "peername" else default


class ClientEnd:
    """The client's end: messages over real WebSocket frames; a `protocol.client` transport."""

    def __init__(self, network: Network, link: Link) -> None:
        self.link = link
        self._network = network
        self._frames = ClientProtocol(
            parse_uri("ws://simulation/ws"), subprotocols=[Subprotocol(SUBPROTOCOL)]
        )
        self._messages: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._is_ended = False
        self._response: Response | None = None

    async def open(self) -> None:
        """Ask for the upgrade; raises OSError unless it is granted."""
        request = self._frames.connect()
        self._frames.send_request(request)
        self._flush()
        while self._response is None and not self._is_ended:
            await self._waked()
        if self._response is None or self._frames.state is not State.OPEN:
            self._network.over(self.link)
            raise ConnectionRefusedError("no upgrade")

    async def send(self, payload: bytes) -> None:
        """Send one binary message."""
        if self._is_ended or self._frames.state is not State.OPEN:
            raise self._closed()
        self._frames.send_binary(payload)
        self._flush()

    async def recv(self) -> bytes:
        """Return the next message."""
        while not self._messages:
            if self._is_ended or self._frames.state is not State.OPEN:
                raise self._closed()
            await self._waked()
        return self._messages.popleft()

    async def close(self) -> None:
        """Say so, wait a little for the answer, and let go."""
        if not self._is_ended and self._frames.state is State.OPEN:
            self._frames.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    while not self._is_ended:
                        await self._waked()
            except TimeoutError:
                pass
        self._is_ended = True
        self.link.up.finish()

    # --- What the way to here tells.

    def take(self, data: bytes) -> None:
        """Turn bytes into messages."""
        self._frames.receive_data(data)
        for event in self._frames.events_received():
            if isinstance(event, Response):
                self._response = event
            elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                assert event.fin, "The server never cuts its messages."
                self._messages.append(bytes(event.data))
        self._flush()
        self._wake.set()

    def end(self, *, reset: bool) -> None:
        """Nothing more comes."""
        self._is_ended = True
        self._wake.set()

    def _flush(self) -> None:
        for data in self._frames.data_to_send():
            if data:
                self.link.up.send(data)
            else:
                self.link.up.finish()

    async def _waked(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    def _closed(self) -> TransportClosed:
        code = self._frames.close_code
        known = code is not None and code != CloseCode.ABNORMAL_CLOSURE
        return TransportClosed(code if known and code else ABNORMAL)
